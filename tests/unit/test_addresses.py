"""Whose request it is, with and without proxies."""

import pytest

from idp.web.addresses import NOWHERE, client_address

PROXIES = ("127.0.0.1", "10.0.0.0/8", "2001:db8::/32")


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "client"),
    [
        ("192.0.2.1", [], (), "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.9"], (), "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.9"], PROXIES, "192.0.2.1"),
        ("127.0.0.1", [], PROXIES, "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.9"], PROXIES, "198.51.100.9"),
        ("127.0.0.1", ["198.51.100.9, 127.0.0.1"], PROXIES, "198.51.100.9"),
        ("127.0.0.1", ["1.2.3.4, 198.51.100.9, 10.1.2.3"], PROXIES, "198.51.100.9"),
        ("127.0.0.1", ["1.2.3.4", "198.51.100.9, 10.1.2.3"], PROXIES, "198.51.100.9"),
        ("127.0.0.1", ["198.51.100.9", "10.1.2.3"], PROXIES, "198.51.100.9"),
        ("127.0.0.1", ["::ffff:198.51.100.9"], PROXIES, "198.51.100.9"),
        ("::ffff:127.0.0.1", ["198.51.100.9"], PROXIES, "198.51.100.9"),
        ("127.0.0.1", ["2001:0DB9::0001"], PROXIES, "2001:db9::1"),
        ("127.0.0.1", ["[2001:db9::1]"], PROXIES, "2001:db9::1"),
        ("127.0.0.1", ["198.51.100.9:4711"], PROXIES, "127.0.0.1"),
        ("127.0.0.1", ["rubbish"], PROXIES, "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.9, rubbish"], PROXIES, "127.0.0.1"),
        ("127.0.0.1", ["rubbish, 198.51.100.9"], PROXIES, "198.51.100.9"),
        ("127.0.0.1", ["", ","], PROXIES, "127.0.0.1"),
        ("127.0.0.1", ["10.1.1.1, 10.2.2.2"], PROXIES, "10.1.1.1"),
        ("2001:db8::1", ["198.51.100.9"], PROXIES, "198.51.100.9"),
        ("", ["198.51.100.9"], PROXIES, NOWHERE),
        ("unix:", [], (), NOWHERE),
    ],
)
def test_the_right_most_address_that_is_no_proxy_is_the_client(
    peer: str, forwarded: list[str], trusted: tuple[str, ...], client: str
) -> None:
    assert client_address(peer, forwarded, trusted) == client

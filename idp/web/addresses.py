"""Whose request it is: the peer, or what trusted proxies say of it."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
NOWHERE = "0.0.0.0"  # noqa: S104  no address to listen on: the peer could not be told


def client_address(peer: str, forwarded: Sequence[str], trusted: tuple[str, ...]) -> str:
    """The address that counts for limits and for the journal.

    `forwarded` are the X-Forwarded-For headers in order. They are believed only when the peer is trusted; then the
    right-most address that is not itself a trusted proxy is the client. What cannot be read counts as the proxy.
    """
    current = _plain(peer)
    if current is None:
        return NOWHERE
    networks = _networks(trusted)
    chain = [part for header in forwarded for part in header.split(",")]
    while chain and _trusted(current, networks):
        before = _plain(chain.pop().strip())
        if before is None:
            return current
        current = before
    return current


def _plain(text: str) -> str | None:
    try:
        found = ip_address(text.strip("[]"))
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return str(found)


def _trusted(address: str, networks: tuple[Network, ...]) -> bool:
    found = ip_address(address)
    return any(found.version == network.version and found in network for network in networks)


@lru_cache(maxsize=8)
def _networks(trusted: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ip_network(one) for one in trusted)

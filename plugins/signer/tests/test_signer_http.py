"""Every rule a request passes before anything is asked of the person."""

import socket
import time
from collections.abc import Iterator

import pytest
from idp_signer.desk import Desk
from idp_signer.origins import OriginBook
from idp_signer.refusals import Refusal
from idp_signer.server import NoFreePort, Server
from idp_signer.testing import FakeTokens, StagedPrompter, call, serving
from idp_signer.wire import Limits, parse_head

ORIGIN = "https://id.office.test"
NONCE = "n" * 44
ASK = {"challengeNonce": NONCE, "lang": "en"}
PATHS = [("GET", "/v1/info"), ("POST", "/v1/authenticate"), ("POST", "/v1/cancel"), ("OPTIONS", "/v1/authenticate")]


@pytest.fixture
def desk(tokens: FakeTokens) -> Desk:
    return Desk(tokens, StagedPrompter(), OriginBook([ORIGIN, "http://localhost:8000"], None))


@pytest.fixture
def port(desk: Desk) -> Iterator[int]:
    with serving(desk, Limits(request_seconds=1.0, connections=4)) as server:
        yield server.port


def test_info_names_the_program_and_nothing_about_cards(port: int) -> None:
    reply = call(port, "GET", "/v1/info")
    assert reply.status == 200
    assert set(reply.content) == {"name", "api", "version", "instance"}
    assert (reply.content["name"], reply.content["api"]) == ("poterne-signer", 1)
    assert call(port, "GET", "/v1/info").content == reply.content


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize("host", ["evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost", "[::1]:{port}", None])
def test_another_host_name_is_refused(port: int, method: str, path: str, host: str | None) -> None:
    shown = host.format(port=port) if host else None
    reply = call(port, method, path, ASK if method == "POST" else None, {"Host": shown})
    assert (reply.status, reply.content) == (421, {"error": "wrong_host"})
    assert "access-control-allow-origin" not in reply.headers


def test_both_names_of_this_machine_are_served(port: int) -> None:
    for host in ("127.0.0.1", "localhost"):
        assert call(port, "GET", "/v1/info", headers={"Host": f"{host}:{port}"}).status == 200


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "",
        "https://evil.example",
        "https://id.office.test/",
        "https://ID.office.test",
        "https://id.office.test:443",
        "https://id.office.test:8443",
        "http://id.office.test",
        "https://id.office.test.",
        "https://id.office.test https://evil.example",
        "file://",
        "https://a.id.office.test",
        "http://localhost:8001",
    ],
)
def test_another_origin_is_refused_and_cannot_read_the_answer(
    port: int, method: str, path: str, origin: str | None
) -> None:
    reply = call(port, method, path, ASK if method == "POST" else None, origin=origin)
    assert (reply.status, reply.content) == (403, {"error": "origin_not_allowed"})
    assert "access-control-allow-origin" not in reply.headers
    assert reply.headers["vary"] == "Origin"


def test_an_origin_sent_twice_is_refused(port: int) -> None:
    request = f"GET /v1/info HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: {ORIGIN}\r\nOrigin: {ORIGIN}\r\n\r\n"
    assert b" 400 " in raw(port, request.encode())


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:8000"])
def test_the_answer_names_the_one_origin_and_gives_no_credentials(
    port: int, method: str, path: str, origin: str
) -> None:
    reply = call(port, method, path, ASK if method == "POST" else None, origin=origin)
    assert reply.status in (200, 204)
    assert reply.headers["access-control-allow-origin"] == origin
    assert reply.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in reply.headers
    assert reply.headers["cross-origin-resource-policy"] == "same-origin"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cache-control"] == "no-store"
    assert "set-cookie" not in reply.headers


def test_a_preflight_is_answered_briefly_and_private_network_wishes_are_harmless(port: int) -> None:
    wishes = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    private = {"Access-Control-Request-Private-Network": "true", "Access-Control-Request-Local-Network": "true"}
    reply = call(port, "OPTIONS", "/v1/authenticate", headers=wishes | private)
    assert (reply.status, reply.content) == (204, {})
    assert reply.headers["access-control-allow-headers"] == "content-type"
    assert int(reply.headers["access-control-max-age"]) <= 600


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
@pytest.mark.parametrize("path", ["/v1/authenticate", "/v1/cancel"])
def test_only_json_is_taken_which_forces_a_preflight(port: int, kind: str | None, path: str) -> None:
    reply = call(port, "POST", path, ASK, {"Content-Type": kind})
    assert (reply.status, reply.content) == (415, {"error": "json_only"})
    assert reply.headers["access-control-allow-origin"] == ORIGIN


def test_a_character_set_beside_the_json_type_does_no_harm(port: int) -> None:
    assert call(port, "POST", "/v1/cancel", {}, {"Content-Type": "Application/JSON; charset=utf-8"}).status == 200


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"\xff", b"[" * 4000, b'{"a":1,"a":2}', b"{}", b'{"challengeNonce": 5}'),
        *(b'{"challengeNonce": "%s"}' % (b"n" * length) for length in (0, 43, 129)),
        b'{"challengeNonce": "%s", "lang": 7}' % (b"n" * 44),
        b'{"challengeNonce": "%s"}' % (b"n " * 22),
        b'{"challengeNonce": "%s"}' % ("é" * 44).encode(),
    ],
)
def test_a_body_that_is_not_a_challenge_is_refused(port: int, body: bytes) -> None:
    reply = call(port, "POST", "/v1/authenticate", body)
    assert (reply.status, reply.content) == (400, {"error": "bad_request"})


@pytest.mark.parametrize("length", [44, 128])
def test_the_shortest_and_the_longest_challenge_are_signed(port: int, length: int) -> None:
    assert call(port, "POST", "/v1/authenticate", {"challengeNonce": "n" * length}).status == 200


def test_a_body_over_four_kibibytes_is_refused(port: int) -> None:
    at_most = b'{"challengeNonce":"%s","x":"' % (b"n" * 44)
    fits = at_most + b"x" * (4096 - len(at_most) - 2) + b'"}'
    assert call(port, "POST", "/v1/authenticate", fits).status == 200
    reply = call(port, "POST", "/v1/authenticate", fits + b" ")
    assert (reply.status, reply.content) == (413, {"error": "too_large"})


def test_a_large_body_still_gets_its_answer(port: int) -> None:
    assert call(port, "POST", "/v1/authenticate", b"x" * 200_000).status == 413


def test_large_headers_are_refused(port: int) -> None:
    assert call(port, "GET", "/v1/info", headers={"Cookie": "x" * 20_000}).status == 431


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/info?x=1", 404),
        ("GET", "/v1/sign", 404),
        ("OPTIONS", "/v1/sign", 404),
        ("GET", "/v1/authenticate", 405),
        ("GET", "/v1/cancel", 405),
        ("PUT", "/v1/authenticate", 405),
        ("POST", "/v1/info", 405),
    ],
)
def test_there_are_three_addresses_with_one_method_each(port: int, method: str, path: str, status: int) -> None:
    assert call(port, method, path).status == status


@pytest.mark.parametrize(
    "request_text",
    [
        "hello",
        "GET /v1/info",
        "GET  /v1/info HTTP/1.1",
        "get /v1/info HTTP/1.1",
        "GET http://127.0.0.1/v1/info HTTP/1.1",
        "GET /v1/info HTTP/2.0",
        "GET /v1/info HTTP/1.1\r\nHost : a",
        "GET /v1/info HTTP/1.1\r\nHost: a\r\n b",
        "GET /v1/info HTTP/1.1\r\nHost: a\r\nHost: a",
        "GET /v1/info HTTP/1.1\r\nA: \x00",
        "GET /v1/info HTTP/1.1\r\nA: b\nOrigin: https://id.office.test",
    ],
)
def test_a_malformed_request_is_refused(request_text: str) -> None:
    with pytest.raises(Refusal, match="bad_request"):
        parse_head(request_text)


@pytest.mark.parametrize("length", ["-1", "+5", "5, 5", "1e1", "٣", "99999999999"])
def test_a_strange_length_is_refused(port: int, length: str) -> None:
    lines = [f"POST /v1/cancel HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: {ORIGIN}\r\n"]
    lines += [f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{{}}"]
    assert b" 400 " in raw(port, "".join(lines).encode())


def test_a_chunked_body_is_refused(port: int) -> None:
    reply = call(port, "POST", "/v1/cancel", b"2\r\n{}\r\n0\r\n\r\n", {"Transfer-Encoding": "chunked"})
    assert (reply.status, reply.content) == (400, {"error": "bad_request"})


def test_a_client_that_dribbles_is_cut_off_after_the_time_for_the_whole_request(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as slow:
        begun = time.monotonic()
        answer = b""
        slow.settimeout(0.2)
        while not answer and time.monotonic() - begun < 4:
            slow.sendall(b"x")
            try:
                answer = slow.recv(4096)
            except TimeoutError:
                continue
    assert b" 408 " in answer
    assert b"request_timeout" in answer
    assert time.monotonic() - begun < 3


def test_idle_clients_are_bounded_and_do_not_hang_the_program(port: int) -> None:
    idle = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(4)]
    try:
        time.sleep(0.2)
        assert b" 503 " in raw(port, b"")
        end = time.monotonic() + 5
        while (status := call(port, "GET", "/v1/info").status) == 503 and time.monotonic() < end:
            time.sleep(0.1)
        assert status == 200
    finally:
        for connection in idle:
            connection.close()


def test_only_this_machine_can_connect(desk: Desk) -> None:
    with serving(desk) as server:
        others = {entry[4][0] for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
        for address in [other for other in others if not str(other).startswith("127.")] + ["127.0.0.2"]:
            with pytest.raises(OSError):
                socket.create_connection((str(address), server.port), timeout=1)


def test_the_first_free_port_is_taken_and_none_left_is_said(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, serving(desk) as other:
        busy = taken.getsockname()[1]
        with pytest.raises(NoFreePort, match=f"{busy}, {other.port}"):
            Server(desk, (busy, other.port))
        second = Server(desk, (busy, 0))
        assert second.port not in (busy, other.port)
        second.stop()
        second.serve()


def raw(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(4096):
            answer += part
        return answer

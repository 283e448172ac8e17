"""One sign-in at a time, with the person's consent: cancelling, locking, removal, first use of an origin."""

import base64
import json
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from idp_signer import desk as desk_module
from idp_signer import webeid
from idp_signer.certificates import Card, KeyKind, read
from idp_signer.desk import Desk
from idp_signer.origins import OriginBook
from idp_signer.refusals import Refusal
from idp_signer.testing import FakeTokens, Reply, StagedPrompter, call, serving

ORIGIN = "https://id.office.test"
OTHER = "https://portal.office.test"
NONCE = "n" * 44


@pytest.fixture
def prompter() -> StagedPrompter:
    return StagedPrompter()


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    return tmp_path / "config" / "poterne-signer" / "origins.json"


@pytest.fixture
def desk(tokens: FakeTokens, prompter: StagedPrompter, answers: Path) -> Desk:
    return Desk(tokens, prompter, OriginBook([ORIGIN, OTHER], answers))


@pytest.fixture
def port(desk: Desk) -> Iterator[int]:
    with serving(desk) as server:
        yield server.port


def ask(port: int, origin: str = ORIGIN) -> Reply:
    return call(port, "POST", "/v1/authenticate", {"challengeNonce": NONCE, "lang": "fr"}, origin=origin)


@contextmanager
def asking(port: int, prompter: StagedPrompter) -> Iterator[list[Reply]]:
    """A page whose question is open while the block lasts; the reply is in the list afterwards."""
    replies: list[Reply] = []
    prompter.hold.set()
    page = threading.Thread(target=lambda: replies.append(ask(port)))
    page.start()
    assert prompter.asked.wait(5)
    yield replies
    prompter.hold.clear()
    page.join()


def test_the_signature_covers_the_origin_the_browser_reported(port: int, key: ec.EllipticCurvePrivateKey) -> None:
    body = {"challengeNonce": NONCE, "origin": "https://bank.example", "data": "QUJD"}
    for origin in (ORIGIN, OTHER):
        token = call(port, "POST", "/v1/authenticate", body, origin=origin).content
        signature = base64.b64decode(token["signature"])
        der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
        message = webeid.message(origin, NONCE, KeyKind.P256)
        key.public_key().verify(der, message, ec.ECDSA(hashes.SHA256()))


def test_a_second_question_is_refused_while_one_is_open(port: int, prompter: StagedPrompter) -> None:
    with asking(port, prompter) as replies:
        for origin in (ORIGIN, OTHER):
            reply = ask(port, origin)
            assert (reply.status, reply.content) == (409, {"error": "busy"})
        assert call(port, "GET", "/v1/info").status == 200
    assert replies[0].status == 200
    assert ask(port).status == 200


def test_a_page_cancels_its_own_question_and_no_other(port: int, prompter: StagedPrompter) -> None:
    with asking(port, prompter) as replies:
        assert call(port, "POST", "/v1/cancel", {}, origin=OTHER).content == {"cancelled": False}
        assert call(port, "POST", "/v1/cancel", {}).content == {"cancelled": True}
        while not replies:
            time.sleep(0.01)
    assert (replies[0].status, replies[0].content) == (409, {"error": "user_cancelled"})
    assert call(port, "POST", "/v1/cancel", {}).content == {"cancelled": False}


def test_a_page_that_leaves_ends_its_question(port: int, prompter: StagedPrompter, tokens: FakeTokens) -> None:
    prompter.hold.set()
    body = json.dumps({"challengeNonce": NONCE}).encode()
    head = f"POST /v1/authenticate HTTP/1.1\r\nHost: localhost:{port}\r\nOrigin: {ORIGIN}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as page:
        page.sendall(head.encode() + body)
        assert prompter.asked.wait(5)
    end = time.monotonic() + 5
    prompter.asked.clear()
    while ask_is_busy(port) and time.monotonic() < end:
        time.sleep(0.05)
    assert time.monotonic() < end
    assert tokens.logins == 0


def ask_is_busy(port: int) -> bool:
    """Ask and cancel at once: the answer is `busy` only while an earlier question is open."""
    replies: list[Reply] = []
    page = threading.Thread(target=lambda: replies.append(ask(port)))
    page.start()
    while page.is_alive():
        call(port, "POST", "/v1/cancel", {})
        page.join(0.05)
    return replies[0].content == {"error": "busy"}


def test_a_person_who_does_not_answer_is_not_waited_for_longer(tokens: FakeTokens, prompter: StagedPrompter) -> None:
    prompter.hold.set()
    desk = Desk(tokens, prompter, OriginBook([ORIGIN], None), person_seconds=0.2)
    with serving(desk) as server:
        reply = ask(server.port)
    assert (reply.status, reply.content) == (408, {"error": "user_timeout"})


def test_a_pin_is_tried_once_and_a_locked_card_is_said_before_the_pin_is_asked(
    port: int, prompter: StagedPrompter, tokens: FakeTokens
) -> None:
    prompter.typed = "000000"
    assert ask(port).content == {"error": "pin_incorrect", "lastTry": False}
    assert tokens.logins == 1
    assert ask(port).content == {"error": "pin_incorrect", "lastTry": True}
    reply = ask(port)
    assert (reply.status, reply.content) == (423, {"error": "pin_locked"})
    assert [state.last_try for state in prompter.states_shown] == [False, False, True]
    assert ask(port).status == 423
    assert (tokens.logins, len(prompter.states_shown)) == (3, 3)


def test_the_number_of_tries_left_is_told_where_the_token_tells_it(
    key: ec.EllipticCurvePrivateKey, tokens: FakeTokens, prompter: StagedPrompter
) -> None:
    telling = FakeTokens(tokens.cards(), lambda message: webeid.Signed("ES256", b""), tells_tries=True)
    prompter.typed = "000000"
    with serving(Desk(telling, prompter, OriginBook([ORIGIN], None))) as server:
        assert ask(server.port).content == {"error": "pin_incorrect", "triesLeft": 2}


def test_a_card_pulled_out_before_or_after_the_choice_is_said(
    port: int, prompter: StagedPrompter, tokens: FakeTokens
) -> None:
    prompter.before_pin = lambda: setattr(tokens, "present", False)
    reply = ask(port)
    assert (reply.status, reply.content) == (410, {"error": "card_removed"})
    assert ask(port).content == {"error": "no_card"}


def test_the_pin_is_wiped_whatever_happens(port: int, prompter: StagedPrompter) -> None:
    assert ask(port).status == 200
    prompter.typed = "000000"
    assert ask(port).status == 401
    assert [bytes(pin) for pin in prompter.given] == [bytes(6), bytes(6)]


def test_with_a_pin_pad_no_pin_is_asked_here(port: int, prompter: StagedPrompter, tokens: FakeTokens) -> None:
    tokens.pin_pad = True
    assert ask(port).status == 200
    assert prompter.given == []


def test_a_card_with_nothing_but_expired_certificates_asks_no_question(
    issue: Callable[..., bytes], prompter: StagedPrompter
) -> None:
    expired = FakeTokens([Card(read(issue(days=-1)), 0, b"1", "carte", b"1")], lambda _: webeid.Signed("ES256", b""))
    with serving(Desk(expired, prompter, OriginBook([ORIGIN], None))) as server:
        assert ask(server.port).content == {"error": "no_certificate"}
    assert prompter.offers_shown == []


def test_an_unknown_origin_is_asked_about_once_and_the_answer_is_kept(
    tokens: FakeTokens, prompter: StagedPrompter, answers: Path
) -> None:
    prompter.accepts_origins = True
    new = "https://new.office.example"
    with serving(Desk(tokens, prompter, OriginBook([], answers))) as server:
        assert call(server.port, "GET", "/v1/info", origin=new).status == 200
        assert ask(server.port, new).status == 200
    assert prompter.origins_shown == [new]
    assert stat.S_IMODE(answers.stat().st_mode) == 0o600
    assert stat.S_IMODE(answers.parent.stat().st_mode) == 0o700
    with serving(Desk(tokens, prompter, OriginBook([], answers))) as server:
        assert ask(server.port, new).status == 200
    assert prompter.origins_shown == [new]


def test_a_refused_origin_stays_refused_and_others_do_not_nag(
    tokens: FakeTokens, prompter: StagedPrompter, answers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Desk(tokens, prompter, OriginBook([], answers))) as server:
        assert call(server.port, "OPTIONS", "/v1/authenticate", origin="https://one.example").status == 403
        assert ask(server.port, "https://two.example").status == 403
        assert prompter.origins_shown == ["https://one.example"]
    monkeypatch.setattr(desk_module, "QUIET_SECONDS", 0.0)
    with serving(Desk(tokens, prompter, OriginBook([], answers))) as server:
        assert ask(server.port, "https://one.example").status == 403
        assert ask(server.port, "https://two.example").status == 403
    assert prompter.origins_shown == ["https://one.example", "https://two.example"]


@pytest.mark.parametrize("path", ["/", "/v1/sign"])
def test_nobody_is_asked_about_an_origin_for_an_unknown_address(
    tokens: FakeTokens, prompter: StagedPrompter, path: str
) -> None:
    with serving(Desk(tokens, prompter, OriginBook([], None))) as server:
        assert call(server.port, "GET", path, origin="https://new.example").status == 403
        assert call(server.port, "GET", "/v1/info", origin="http://new.example").status == 403
        assert call(server.port, "GET", "/v1/info", headers={"Host": "a"}, origin="https://new.example").status == 421
    assert prompter.origins_shown == []


def test_an_answer_that_cannot_be_stored_holds_until_the_end(
    tokens: FakeTokens, prompter: StagedPrompter, tmp_path: Path
) -> None:
    prompter.accepts_origins = True
    (tmp_path / "file").write_text("")
    book = OriginBook([], None)
    book._file = tmp_path / "file" / "below" / "origins.json"
    with serving(Desk(tokens, prompter, book)) as server:
        assert ask(server.port, "https://new.example").status == 200
        assert ask(server.port, "https://new.example").status == 200
    assert prompter.origins_shown == ["https://new.example"]


def test_a_closed_desk_puts_no_question(desk: Desk) -> None:
    desk.close()
    with pytest.raises(Refusal, match="busy"):
        desk.authenticate(ORIGIN, NONCE, "fr", lambda: False)

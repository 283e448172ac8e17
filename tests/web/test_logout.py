"""Signing out: at a portal's wish only on the strength of its own ID token, otherwise after a question."""

from urllib.parse import urlencode

import pytest
from services.office import ISSUER, Office, answered
from services.visitor import Browser, Page

from idp import clock

NOW = 1_800_000_000
BYE = "https://web1.example/bye"


def signed_in(office: Office, name: str = "alice", client: str = "web1") -> tuple[Browser, str]:
    browser = office.browser()
    tokens = answered(office.redeem(browser.sign_in(f"{name}@e1.example", client=client), client))
    return browser, tokens["id_token"]


def leave(browser: Browser, **values: str) -> Page:
    return browser.visit(f"/end-session?{urlencode(values)}")


def lives(browser: Browser) -> bool:
    return "code" in browser.authorize(prompt="none").answer


def test_the_own_id_token_signs_out_at_once_and_leads_back_with_the_state(office: Office) -> None:
    browser, hint = signed_in(office)
    page = leave(browser, id_token_hint=hint, post_logout_redirect_uri=BYE, state="a &state")
    assert page.outside == f"{BYE}?state=a+%26state"
    assert not lives(browser)
    assert [e["cause"] for e in office.journal("session.ended")] == ["logout"]


def test_without_a_state_none_is_added(office: Office) -> None:
    browser, hint = signed_in(office)
    assert leave(browser, id_token_hint=hint, post_logout_redirect_uri=BYE).outside == BYE


def test_a_hint_alone_signs_out_and_says_so(office: Office) -> None:
    browser, hint = signed_in(office)
    page = leave(browser, id_token_hint=hint)
    assert (page.status, page.outside) == (200, None)
    assert not lives(browser)


@pytest.mark.parametrize("values", [{}, {"state": "x"}, {"post_logout_redirect_uri": BYE}, {"client_id": "web1", "post_logout_redirect_uri": BYE}])  # fmt: skip
def test_without_a_hint_the_person_is_asked_first_and_nobody_is_sent_anywhere(
    office: Office, values: dict[str, str]
) -> None:
    browser, _ = signed_in(office)
    page = leave(browser, **values)
    assert "logout-confirm" in page.ids
    assert lives(browser)
    done = browser.submit(page, "logout-confirm")
    assert (done.status, done.outside) == (200, None)
    assert not lives(browser)


@pytest.mark.parametrize(
    "address",
    [BYE + "/", BYE + "?a=1", BYE + "#f", BYE.upper(), "https://web2.example/bye", "https://evil.example/", "//evil.example", "javascript:alert(1)", "https://web1.example/cb", "x" * 9000],
)  # fmt: skip
def test_only_the_registered_address_of_the_hints_client_is_gone_to(office: Office, address: str) -> None:
    browser, hint = signed_in(office)
    page = leave(browser, id_token_hint=hint, post_logout_redirect_uri=address)
    assert page.outside is None
    assert page.status == 200


def forged(hint: str) -> list[str]:
    from base64 import urlsafe_b64encode

    header, payload, signature = hint.split(".")
    none = urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    return [
        f"{header}.{payload}.",
        f"{none}.{payload}.",
        f"{none}.{payload}.{signature}",
        f"{header}.{payload[:-2]}AA.{signature}",
        f"{header}.{payload}.{signature[:-2]}AA",
        "x.y.z",
        "x",
        "é",
        hint * 20,
    ]


def test_a_bad_hint_is_no_hint(office: Office) -> None:
    browser, hint = signed_in(office)
    for bad in forged(hint):
        page = leave(browser, id_token_hint=bad, post_logout_redirect_uri=BYE)
        assert page.outside is None
        assert "logout-confirm" in page.ids
        assert lives(browser)


def test_a_hint_of_somebody_else_or_of_another_session_signs_nobody_out_unasked(office: Office) -> None:
    alice, _ = signed_in(office)
    for name in ("bob", "alice"):
        other, hint = signed_in(office, name)
        page = leave(alice, id_token_hint=hint)
        assert "logout-confirm" in page.ids
        assert lives(alice)
        assert lives(other)


def test_a_hint_of_another_client_than_the_one_named_counts_for_nothing(office: Office) -> None:
    browser, hint = signed_in(office)
    page = leave(browser, id_token_hint=hint, client_id="web2", post_logout_redirect_uri=BYE)
    assert page.outside is None
    assert "logout-confirm" in page.ids
    assert lives(browser)
    assert leave(browser, id_token_hint=hint, client_id="web1", post_logout_redirect_uri=BYE).outside == BYE


def test_an_expired_hint_still_names_its_session(office: Office) -> None:
    with clock.fixed(NOW) as advance:
        browser, hint = signed_in(office)
        advance(1200)
        assert leave(browser, id_token_hint=hint, post_logout_redirect_uri=BYE).outside == BYE
        assert not lives(browser)


def test_a_second_sign_out_does_no_harm(office: Office) -> None:
    browser, hint = signed_in(office)
    for _ in range(2):
        assert leave(browser, id_token_hint=hint, post_logout_redirect_uri=BYE).outside == BYE
    page = leave(browser)
    assert (page.status, page.outside) == (200, None)
    assert len(office.journal("session.ended")) == 1


def test_what_lived_by_the_session_ends_with_it_and_lasting_access_stays(office: Office) -> None:
    browser = office.browser()
    online = answered(office.redeem(browser.sign_in(scope="openid email")))
    lasting = answered(office.redeem(browser.authorize("web2"), "web2"))
    waiting = browser.authorize("web1", scope="openid").answer["code"]
    leave(browser, id_token_hint=online["id_token"])
    assert office.user_info(online["access_token"]).status_code == 401
    assert office.redeem(waiting).status_code == 400
    assert office.refresh(lasting["refresh_token"], "web2").status_code == 200


def test_a_request_to_sign_out_may_be_posted(office: Office) -> None:
    browser, hint = signed_in(office)
    moved = browser.post("/end-session", {"id_token_hint": hint, "post_logout_redirect_uri": BYE})
    assert browser.visit(moved.headers["Location"]).outside == BYE
    assert not lives(browser)


def test_the_question_keeps_the_portals_wish_and_a_changed_one_is_judged_anew(office: Office) -> None:
    alice, _ = signed_in(office)
    _, hint = signed_in(office)  # another session of hers
    page = leave(alice, id_token_hint=hint, post_logout_redirect_uri=BYE, state="s")
    changed = alice.copy().submit(page, "logout-confirm", post_logout_redirect_uri="https://evil.example/")
    assert changed.outside is None
    again, _ = signed_in(office)
    page = leave(again, id_token_hint=hint, post_logout_redirect_uri=BYE, state="s")
    assert again.submit(page, "logout-confirm").outside == f"{BYE}?state=s"


def test_the_issuer_of_a_hint_counts(office: Office) -> None:
    _, hint = signed_in(office)
    other = office.again(server={"issuer": "https://other.example"})
    visitor = other.browser()
    assert office.claims(hint)["iss"] == ISSUER
    assert leave(visitor, id_token_hint=hint, post_logout_redirect_uri=BYE).outside is None

"""What ends an account's sign-ins, at the very moment when somebody signs in or gets a code."""

from typing import Any
from urllib.parse import urlencode

import pytest
from services.office import Office
from services.visitor import PASSWORD, question

from idp.directory import accounts
from idp.errors import Stale
from idp.login.sessions import Live


def end_everything(office: Office, name: str = "alice") -> None:
    with office.inside() as on:
        accounts.end_everything(on, office.id_of(name))
        on.commit()


def after(target: Any, method: str, act: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something happen as soon as one method of a thing has done its work."""
    before = getattr(target, method)

    def both(*given: Any, **named: Any) -> Any:
        answer = before(*given, **named)
        act()
        return answer

    monkeypatch.setattr(target, method, both)


def test_an_old_password_checked_while_it_is_replaced_opens_no_session(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = office.house.methods["password"]
    after(verify, "verify", lambda: end_everything(office), monkeypatch)
    page = office.browser().sign_in(password=PASSWORD)
    assert page.status == 400
    assert page.outside is None
    assert office.rows("SELECT id FROM sessions") == []


def test_a_proof_noted_just_before_everything_ends_opens_no_session(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    after(office.house.verifier, "verify", lambda: end_everything(office), monkeypatch)
    page = office.browser().sign_in(password=PASSWORD)
    assert page.status == 400
    assert office.rows("SELECT id FROM sessions") == []


def test_an_account_disabled_while_it_signs_in_opens_no_session(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    after(office.house.verifier, "verify", lambda: office.disable("alice"), monkeypatch)
    assert office.browser().sign_in(password=PASSWORD).status == 400
    assert office.rows("SELECT id FROM sessions") == []


def test_a_session_that_ends_while_a_code_is_asked_for_gives_none(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = office.browser()
    assert browser.sign_in().answer["code"]
    after(office.house.sessions, "find", lambda: end_everything(office), monkeypatch)
    page = browser.authorize()
    assert page.status == 400
    assert office.rows("SELECT id FROM grants WHERE revoked_at IS NULL") == []


def test_a_code_given_before_the_session_ends_dies_with_it(office: Office) -> None:
    browser = office.browser()
    code = browser.sign_in().answer["code"]
    end_everything(office)
    assert office.redeem(code).status_code == 400


def test_an_ended_session_cannot_be_held(office: Office) -> None:
    browser = office.browser()
    browser.sign_in()
    live = office.house.sessions.find(browser.cookies["__Host-session"])
    assert isinstance(live, Live)
    end_everything(office)
    with pytest.raises(Stale, match="session_over"), office.house.database.begin() as c:
        office.house.sessions.hold(c, live)


def test_a_request_that_only_asks_for_headers_is_given_nothing(office: Office) -> None:
    browser = office.browser()
    browser.sign_in()
    for path in (f"/authorize?{urlencode(question())}", "/end-session", "/login/x", "/consent/x"):
        assert browser.open("HEAD", path).status_code == 405
    assert len(office.rows("SELECT id FROM grants")) == 1
    assert browser.authorize(prompt="none").answer["code"]
    assert browser.open("HEAD", "/.well-known/openid-configuration").status_code == 200

"""A signed-in person changes her password: the old one is asked for, and everything else that was signed in ends."""

from typing import Any

import pytest
from services.office import Office, Opens, answered
from services.visitor import PASSWORD, Browser, Page

NEW = "Cidre:Ponton77"


def signed_in(office: Office, name: str = "alice", **changes: Any) -> Browser:
    browser = office.browser()
    browser.sign_in(f"{name}@e1.example", **changes)
    return browser


def change(browser: Browser, current: str = PASSWORD, new: str = NEW, again: str | None = None) -> Page:
    page = browser.visit("/account/password")
    confirmation = new if again is None else again
    return browser.submit(page, "password-submit", current=current, password=new, confirmation=confirmation)


def alive(browser: Browser) -> bool:
    return browser.visit("/account").path == "/account"


@pytest.mark.requirement("R52")
def test_a_new_password_works_at_once_and_the_old_one_no_longer(office: Office) -> None:
    browser = signed_in(office)
    page = change(browser)
    assert "Votre mot de passe a bien été mis à jour." in page.text
    assert "code" in office.browser().sign_in(password=NEW).answer
    assert "form-error" in office.browser().sign_in().ids
    assert [e["cause"] for e in office.journal("password.changed")] == ["account"]
    assert "Votre mot de passe a été modifié" in str(office.letters("alice@e1.example")[-1]["Subject"])


@pytest.mark.requirement("R52")
def test_the_page_has_three_fields_with_eyes_and_the_rules_before_typing(office: Office) -> None:
    page = signed_in(office).visit("/account/password")
    eyes = [attributes["data-eye"] for tag, attributes in page.tags if "data-eye" in attributes]
    assert eyes == ["current", "password", "confirmation"]
    assert "8 à 128 caractères" in page.text


def test_everything_else_ends_and_this_session_goes_on_under_a_new_secret(office: Office) -> None:
    others = [signed_in(office), signed_in(office)]
    elsewhere = office.tokens("alice")
    browser = office.browser()
    here = answered(office.redeem(browser.sign_in()))
    stolen = browser.copy()
    sid = office.claims(here["id_token"])["sid"]
    change(browser)
    assert not any(alive(other) for other in others)
    assert alive(browser)
    assert not alive(stolen), "the old secret of the session still opens it"
    assert office.refresh(elsewhere["refresh_token"]).status_code == 400
    assert office.user_info(elsewhere["access_token"]).status_code == 401
    assert office.user_info(here["access_token"]).status_code == 200
    assert office.claims(answered(office.redeem(browser.sign_in()))["id_token"])["sid"] == sid


def test_a_sign_in_that_was_under_way_ends_too(office: Office) -> None:
    other = office.browser()
    page = other.sign_in(client="consent1")
    change(signed_in(office))
    assert other.submit(page, "consent-allow").status == 400


def test_wrong_old_passwords_count_and_block_as_at_the_door(office: Office) -> None:
    browser = signed_in(office)
    office.browser().sign_in(password="Wrong=Horse8")
    for _ in range(3):
        page = change(browser, "Wrong=Horse8")
        assert "current-error" in page.ids
    assert "Votre compte est bloqué" in change(browser, "Wrong=Horse8").text
    assert "Votre compte est bloqué" in change(browser).text
    assert "Votre compte est bloqué" in office.browser().sign_in().text
    assert office.rows("SELECT count(*) FROM journal WHERE event = 'account.blocked'")[0][0] == 1
    assert office.journal("password.changed") == []
    assert alive(browser)


def test_a_neutral_office_does_not_say_that_the_account_is_blocked(opened: Opens) -> None:
    office = opened(lockout={"message": "neutral", "max_attempts": 2})
    browser = signed_in(office)
    said = [change(browser, wrong) for wrong in ("Wrong=Horse8", "Wrong=Horse8", PASSWORD)]
    assert {("bloqué" in page.text, "current-error" in page.ids) for page in said} == {(False, True)}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"current": ""}, "current"),
        ({"again": "Another:Word9"}, "confirmation"),
        ({"new": "short"}, "password"),
        ({"new": PASSWORD}, "password"),
        ({"new": "", "again": ""}, "password"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_changes(office: Office, fields: dict[str, str], field: str) -> None:
    browser, other = signed_in(office), signed_in(office)
    page = change(browser, **fields)
    assert {"form-error", f"{field}-error"} <= set(page.ids)
    assert PASSWORD not in page.text
    assert alive(other)
    assert office.journal("password.changed") == []
    assert "code" in office.browser().sign_in().answer


def test_an_empty_old_password_is_not_counted(office: Office) -> None:
    browser = signed_in(office)
    for _ in range(6):
        change(browser, "")
    assert "code" in office.browser().sign_in().answer


@pytest.mark.parametrize("before", ["reset", "sign-out"])
def test_who_was_ended_meanwhile_changes_nothing(office: Office, monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    """Between the check of the old password and the change, the account is reset or the session signed out."""
    browser = signed_in(office)
    method = office.house.methods["password"]
    replace: Any = method.replace  # type: ignore[attr-defined]

    def ended_first(account_id: str, secret: str) -> None:
        table, column = ("accounts", "epoch = epoch + 1") if before == "reset" else ("sessions", "ended_at = 1")
        office.execute(f"UPDATE {table} SET {column}")
        replace(account_id, secret)

    monkeypatch.setattr(method, "replace", ended_first)
    page = change(browser)
    assert page.status == 400
    cause = {"reset": "account_changed", "sign-out": "session_over"}[before]
    assert [e["cause"] for e in office.journal("request.refused")] == [cause]
    monkeypatch.undo()
    assert "code" in office.browser().sign_in().answer
    assert office.journal("password.changed") == []

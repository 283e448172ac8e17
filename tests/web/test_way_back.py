"""Whoever asks for a page of her own is signed in first and then finds herself on that page, and never elsewhere."""

from urllib.parse import urlencode

import pytest
from services.office import Office
from services.visitor import PASSWORD

ALICE = {"email": "alice@e1.example", "password": PASSWORD}


@pytest.mark.parametrize("path", ["/account/sessions", "/account/information?x=1", "/entity", "/account/means"])
def test_signing_in_leads_back_to_the_page_that_was_asked_for(office: Office, path: str) -> None:
    browser = office.browser()
    asked = browser.visit(path)
    assert asked.path.startswith("/login/")
    assert browser.submit(asked, "login-submit", **ALICE).path == path


def test_a_wrong_password_on_the_way_loses_nothing(office: Office) -> None:
    browser = office.browser()
    page = browser.submit(browser.visit("/entity"), "login-submit", email=ALICE["email"], password="wrong")
    assert browser.submit(page, "login-submit", **ALICE).path == "/entity"


@pytest.mark.parametrize(
    "target",
    ["https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "/a\r\nb", "", "/" + "a" * 501],
)  # fmt: skip
def test_no_target_leads_elsewhere(office: Office, target: str) -> None:
    browser = office.browser()
    page = browser.visit(f"/login?{urlencode({'next': target})}")
    done = browser.submit(page, "login-submit", **ALICE)
    assert (done.outside, done.path, done.status) == (None, "/", 200)
    again = browser.visit(f"/login?{urlencode({'next': target})}")
    assert (again.outside, again.path) == (None, "/")


def test_somebody_who_is_signed_in_goes_there_at_once(office: Office) -> None:
    browser = office.browser()
    browser.submit(browser.visit("/login"), "login-submit", **ALICE)
    assert browser.visit("/login?next=/account/sessions").path == "/account/sessions"

"""A code as second factor: added, asked for, counted by itself, removed; on both databases."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyotp
import pytest
from services.office import Office, Opens, words
from services.visitor import PASSWORD, Browser, Page

from idp import clock
from idp.settings import build

NOW = 1_800_000_015  # in the middle of a step
MEANS = "/account/means"


@dataclass
class Person:
    """Dave with a browser, and the application on his phone."""

    office: Office
    browser: Browser
    move: Callable[[int], None]
    seed: str = ""
    recovery: tuple[str, ...] = ()
    email: str = "dave@e1.example"

    def sign_in(self) -> None:
        self.browser = self.office.browser()
        self.browser.visit("/login")
        assert self.browser.submit(self.browser.visit("/login"), "login-submit", email=self.email, password=PASSWORD)
        assert self.browser.visit(MEANS).path == MEANS

    def begin(self, password: str = PASSWORD) -> Page:
        page = self.browser.submit(self.browser.visit(f"{MEANS}/totp/add"), "means-continue", password=password)
        if 'id="totp-secret">' in page.text:
            self.seed = page.text.partition('id="totp-secret">')[2].partition("<")[0].replace(" ", "")
        return page

    def add(self) -> Page:
        """Add the application; its first code is spent."""
        page = self.browser.submit(self.begin(), "means-confirm", code=self.code())
        codes = page.text.partition('id="totp-recovery">')[2].partition("</ol>")[0]
        self.recovery = tuple(part.partition("<")[0] for part in codes.split('class="code">')[1:])
        return page

    def code(self) -> str:
        return pyotp.TOTP(self.seed).generate_otp(clock.now() // 30)

    def wrong(self) -> str:
        near = {pyotp.TOTP(self.seed).generate_otp(clock.now() // 30 + n) for n in range(-3, 4)}
        return next(code for code in map("{:06}".format, range(10)) if code not in near)

    def claims(self, page: Page) -> dict[str, Any]:
        return self.office.claims(self.office.redeem(page).get_json()["id_token"])

    def failures(self) -> int:
        with self.office.inside() as on:
            return self.office.house.lockout.count(on, self.office.id_of("dave")).failed


@pytest.fixture
def dave(opened: Opens) -> Iterator[Person]:
    """Dave, signed in with his password, without an application."""
    office = opened(login={"methods": ["password", "smartcard", "totp"]})
    with clock.fixed(NOW) as move:
        person = Person(office, office.browser(), move)
        person.sign_in()
        yield person


@pytest.fixture
def with_phone(dave: Person) -> Person:
    """Dave with an application in use, a minute later."""
    dave.add()
    dave.move(60)
    return dave


def test_an_installation_that_says_nothing_offers_no_codes() -> None:
    assert build({}).login.methods == ("password", "smartcard")


def test_every_method_stands_on_the_page_with_what_is_enrolled(dave: Person) -> None:
    page = dave.browser.visit(MEANS)
    assert [i for i in page.ids if i.startswith("means-")] == [
        "means-password",
        "means-smartcard",
        "means-totp",
        "means-add-totp",
    ]
    assert "Défini le" in page.text
    dave.add()
    page = dave.browser.visit(MEANS)
    assert "means-remove-totp" in page.ids
    assert "means-add-totp" not in page.ids
    assert "Codes de secours restants" in page.text


def test_an_application_is_added_with_the_password_and_a_first_code(dave: Person) -> None:
    page = dave.begin()
    assert len(dave.seed) == 32
    assert "<svg" in page.text
    page = dave.browser.submit(page, "means-confirm", code=dave.code())
    assert "means-done" in page.ids
    (event,) = dave.office.journal("means.added")
    assert (event["account"], event["method"], event["address"]) == (dave.office.id_of("dave"), "totp", "192.0.2.10")
    letter = dave.office.letters(dave.email)[-1]
    assert "Application d’authentification" in words(letter)
    assert "ajouté" in words(letter)


def test_nothing_is_shown_without_the_password(dave: Person) -> None:
    page = dave.begin("not the password")
    assert "form-error" in page.ids
    assert "<svg viewBox" not in page.text
    assert "totp-secret" not in page.text
    assert dave.office.rows("SELECT * FROM idp_totp_seed") == []
    assert dave.failures() == 1


def test_the_password_is_asked_by_the_count_that_its_other_doors_share(dave: Person) -> None:
    for _ in range(5):
        page = dave.begin("not the password")
    assert "Votre compte est bloqué" in page.text
    assert "totp-secret" not in dave.begin().ids
    (blocked,) = dave.office.journal("account.blocked")
    assert blocked["account"] == dave.office.id_of("dave")


def test_the_seed_and_the_recovery_codes_are_shown_once(dave: Person) -> None:
    again = dave.browser.submit(dave.begin(), "means-confirm", code=dave.wrong())
    assert "form-error" in again.ids
    assert dave.seed not in again.text.replace(" ", "")
    done = dave.browser.submit(again, "means-confirm", code=dave.code())
    assert done.text.count('class="code"') == 10
    assert dave.seed not in done.text.replace(" ", "")
    for path in (MEANS, f"{MEANS}/totp/confirm", f"{MEANS}/totp/remove", f"{MEANS}/totp/add"):
        page = dave.browser.visit(path)
        assert not {"totp-secret", "totp-recovery"} & set(page.ids)
        assert dave.seed not in page.text.replace(" ", "")
    assert dave.browser.visit(f"{MEANS}/totp/add").path.partition("#")[0] == MEANS


def test_a_form_that_was_left_open_adds_no_second_application(dave: Person) -> None:
    left, begun = dave.browser.visit(f"{MEANS}/totp/add"), dave.begin()
    dave.browser.submit(begun, "means-confirm", code=dave.code())
    assert dave.browser.submit(left, "means-continue", password=PASSWORD).status == 409
    assert dave.browser.submit(begun, "means-confirm", code=dave.code()).status == 409
    assert len(dave.office.journal("means.added")) == 1


def test_a_portal_that_demands_two_factors_gets_them(with_phone: Person) -> None:
    page = with_phone.browser.authorize(acr_values="loa2")
    assert page.outside is None
    (field,) = [attributes for tag, attributes in page.tags if attributes.get("name") == "code"]
    assert (field["autocomplete"], field["inputmode"]) == ("one-time-code", "numeric")
    claims = with_phone.claims(with_phone.browser.submit(page, "login-submit", code=with_phone.code()))
    assert (claims["acr"], claims["amr"]) == ("loa2", ["pwd", "otp", "mfa"])


def test_a_fresh_browser_gives_the_password_then_the_code(with_phone: Person) -> None:
    browser = with_phone.office.browser()
    page = browser.sign_in(with_phone.email, acr_values="loa2")
    claims = with_phone.claims(browser.submit(page, "login-submit", code=with_phone.code()))
    assert (claims["acr"], claims["amr"]) == ("loa2", ["pwd", "otp", "mfa"])


def test_a_recovery_code_takes_the_place_of_a_code_once(with_phone: Person) -> None:
    for expected in (True, False):
        browser = with_phone.office.browser()
        page = browser.sign_in(with_phone.email, acr_values="loa2")
        page = browser.submit(page, "login-submit", code=with_phone.recovery[0])
        assert (page.outside is not None) is expected


def test_the_same_code_serves_no_second_sign_in(with_phone: Person) -> None:
    pages = []
    for _ in range(2):
        browser = with_phone.office.browser()
        page = browser.sign_in(with_phone.email, acr_values="loa2")
        pages.append(browser.submit(page, "login-submit", code=with_phone.code()))
    assert "code" in pages[0].answer
    assert "form-error" in pages[1].ids


def test_who_has_no_second_factor_comes_back_with_an_error(dave: Person) -> None:
    page = dave.browser.authorize(acr_values="loa2")
    assert page.answer["error"] == "unmet_authentication_requirements"
    fresh = dave.office.browser().sign_in("bob@e1.example", acr_values="loa2")
    assert fresh.answer["error"] == "unmet_authentication_requirements"


def test_a_portal_that_demands_nothing_asks_no_code(with_phone: Person) -> None:
    claims = with_phone.claims(with_phone.office.browser().sign_in(with_phone.email))
    assert (claims["acr"], claims["amr"]) == ("loa1", ["pwd"])


def test_ten_wrong_codes_close_the_codes_and_leave_the_password_alone(with_phone: Person) -> None:
    page = with_phone.browser.authorize(acr_values="loa2")
    for _ in range(10):
        page = with_phone.browser.submit(page, "login-submit", code=with_phone.wrong())
        assert "form-error" in page.ids
    causes = [event["cause"] for event in with_phone.office.journal("login.refused")]
    assert causes == ["wrong_code"] * 5 + ["totp_closed"] * 5
    refused = with_phone.office.journal("login.refused")
    assert {event["account"] for event in refused} == {with_phone.office.id_of("dave")}
    assert with_phone.failures() == 0
    assert "code" in with_phone.office.browser().sign_in(with_phone.email).answer
    assert with_phone.browser.submit(page, "login-submit", code=with_phone.code()).outside is None
    with_phone.move(900)
    fresh = with_phone.browser.authorize(acr_values="loa2")
    assert "code" in with_phone.browser.submit(fresh, "login-submit", code=with_phone.code()).answer


def test_a_right_code_does_not_forgive_wrong_passwords(with_phone: Person) -> None:
    page = with_phone.browser.authorize(acr_values="loa2")
    for _ in range(2):
        with_phone.office.browser().sign_in(with_phone.email, "not the password")
    assert "code" in with_phone.browser.submit(page, "login-submit", code=with_phone.code()).answer
    assert with_phone.failures() == 2


def test_an_application_is_removed_with_the_password_and_a_code(with_phone: Person) -> None:
    page = with_phone.browser.visit(f"{MEANS}/totp/remove")
    done = with_phone.browser.submit(page, "means-remove", password=PASSWORD, code=with_phone.code())
    assert done.path == MEANS
    assert "means-add-totp" in done.ids
    assert [event["method"] for event in with_phone.office.journal("means.removed")] == ["totp"]
    letter = with_phone.office.letters(with_phone.email)[-1]
    assert "retiré" in words(letter)
    error = with_phone.browser.authorize(acr_values="loa2").answer["error"]
    assert error == "unmet_authentication_requirements"


@pytest.mark.parametrize("wrong", ["password", "code"])
def test_neither_the_password_nor_a_code_alone_removes_it(with_phone: Person, wrong: str) -> None:
    given = {"password": PASSWORD, "code": with_phone.code()}
    given[wrong] = {"password": "not the password", "code": with_phone.wrong()}[wrong]
    page = with_phone.browser.submit(with_phone.browser.visit(f"{MEANS}/totp/remove"), "means-remove", **given)
    assert "form-error" in page.ids
    assert "means-remove-totp" in with_phone.browser.visit(MEANS).ids
    assert with_phone.office.journal("means.removed") == []


def test_a_new_password_by_letter_leaves_the_second_factor(with_phone: Person) -> None:
    browser = with_phone.office.browser()
    browser.submit(browser.visit("/lost-password"), "lost-password-submit", email=with_phone.email)
    new = "Pommier;Rail77"
    page = browser.visit(with_phone.office.link(with_phone.email))
    browser.submit(page, "new-password-submit", password=new, confirmation=new)
    page = browser.sign_in(with_phone.email, new, acr_values="loa2")
    assert "code" in browser.submit(page, "login-submit", code=with_phone.code()).answer


def test_nobody_signed_in_is_shown_the_way_in(dave: Person) -> None:
    stranger = dave.office.browser()
    for path in (MEANS, f"{MEANS}/totp/add", f"{MEANS}/totp/remove"):
        assert stranger.visit(path).path.startswith("/login")
    for act in ("add", "confirm", "remove"):
        assert stranger.post(f"{MEANS}/totp/{act}").headers["Location"] == "/login"


@pytest.mark.parametrize("name", ["password", "smartcard", "none"])
def test_what_cannot_be_added_here_is_not_found(dave: Person, name: str) -> None:
    assert [dave.browser.visit(f"{MEANS}/{name}/{act}").status for act in ("add", "remove")] == [404, 404]


def test_what_another_page_sends_changes_nothing(with_phone: Person) -> None:
    sent = {"password": PASSWORD, "code": with_phone.code()}
    for act in ("add", "confirm", "remove"):
        assert with_phone.browser.post(f"{MEANS}/totp/{act}", sent).status_code == 400
    assert "means-remove-totp" in with_phone.browser.visit(MEANS).ids

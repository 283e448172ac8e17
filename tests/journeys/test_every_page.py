"""One walk past every page in each language: axe in light and dark, one language a page, and the way to the other one."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from services.barriers import assert_open_to_all, picture
from services.browser import NewPage
from services.people import sign_in
from services.portal import Portal
from services.provider import Person, Provider, running

LANGUAGES = {"fr": "fr-FR", "en": "en-GB"}
OTHER = {"fr": "en", "en": "fr"}
# Words that stand on pages of the other language only.
STRANGE = {
    "fr": re.compile(r"\b(your|you|the|with|this|sign)\b", re.IGNORECASE),
    "en": re.compile(r"\b(votre|vous|avec|cette|est|les)\b", re.IGNORECASE),
}
WINDOW = {"width": 1280, "height": 860}


def look(page: Page, language: str, *, turn: bool = True) -> None:
    """Look at a page. `turn`: its address can be loaded again, so the language is switched there and back."""
    assert page.evaluate("document.documentElement.lang") == language
    words = page.locator("main").inner_text()
    assert not STRANGE[language].search(words), words
    assert_open_to_all(page)
    if turn:
        heading = page.locator("h1").inner_text()
        for to in (OTHER[language], language):
            page.locator(f".foot button[lang={to}]").click()
            expect(page.locator("html")).to_have_attribute("lang", to)
        expect(page.locator("h1")).to_have_text(heading)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_pages_on_the_way_in(
    new_page: NewPage, provider: Provider, portal: Portal, alice: Person, language: str
) -> None:
    page = new_page(LANGUAGES[language])
    page.goto(portal.sign_in)
    look(page, language)
    page.locator(".chooser a[href$='/smartcard']").click()
    look(page, language)
    page.locator("#card-start").click()
    expect(page.locator("#card-status[data-tone=wrong]")).to_be_visible()
    look(page, language, turn=False)
    page.locator(".chooser a[href$='/password']").click()
    page.locator("#login-submit").click()
    expect(page.locator("#form-error")).to_be_visible()
    look(page, language, turn=False)
    sign_in(page, Person("", f"nobody-{language}@example.org", ""), "Wrong=Horse8")
    look(page, language, turn=False)
    for _ in range(4):
        sign_in(page, Person("", f"nobody-{language}@example.org", ""), "Wrong=Horse8")
    expect(page.locator("#form-error .button")).to_be_visible()
    look(page, language, turn=False)
    sign_in(page, alice)
    expect(page.locator("#who")).to_have_text(alice.name)
    page.goto(provider.issuer)
    look(page, language)
    page.goto(f"{provider.issuer}/logout")
    look(page, language)
    page.locator("#logout-confirm").click()
    expect(page.locator("#logout-confirm")).to_have_count(0)
    look(page, language, turn=False)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_pages_of_a_new_password(new_page: NewPage, provider: Provider, camille: Person, language: str) -> None:
    page = new_page(LANGUAGES[language])
    page.goto(f"{provider.issuer}/lost-password")
    look(page, language)
    page.locator("#lost-password-submit").click()
    expect(page.locator("#form-error")).to_be_visible()
    look(page, language, turn=False)
    page.locator("#email").fill(camille.email)
    page.locator("#lost-password-submit").click()
    expect(page.get_by_role("status")).to_be_visible()
    look(page, language, turn=False)
    page.goto(provider.link(camille.email, "lost-password"))
    look(page, language)
    page.locator("#password").fill("short")
    page.locator("#new-password-submit").click()
    expect(page.locator("#form-error")).to_be_visible()
    look(page, language, turn=False)
    for name in ("password", "confirmation"):
        page.locator(f"#{name}").fill("Brand:New/Horse9")
    page.locator("#new-password-submit").click()
    expect(page.get_by_role("status")).to_be_visible()
    look(page, language, turn=False)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_that_asks_for_consent(new_page: NewPage, partner: Portal, camille: Person, language: str) -> None:
    page = new_page(LANGUAGES[language])
    page.goto(partner.sign_in)
    sign_in(page, camille)
    expect(page.locator("#consent-allow")).to_be_visible()
    look(page, language)
    page.locator("#consent-allow").click()
    expect(page.locator("#who")).to_have_text(camille.name)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_pages_of_what_goes_wrong(new_page: NewPage, provider: Provider, portal: Portal, language: str) -> None:
    page = new_page(LANGUAGES[language])
    page.goto(f"{provider.issuer}/nowhere")
    look(page, language)
    page.goto(f"{provider.issuer}/lost-password/unknown")
    look(page, language)
    page.goto(portal.request(redirect_uri="https://elsewhere.example/"))
    page.locator("dd[lang=en]").evaluate("detail => detail.remove()")  # said to people who run the portal
    look(page, language)


def test_the_page_after_too_many_wrong_answers_from_one_place(new_page: NewPage, tmp_path: Path) -> None:
    with running(tmp_path, address_failures=2) as strict:
        for language, locale in LANGUAGES.items():
            page = new_page(locale)
            page.goto(f"{strict.issuer}/login")
            for number in range(3):
                if page.locator("#email").count():
                    sign_in(page, Person("", f"nobody-{number}@example.org", ""), "Wrong=Horse8")
            expect(page.locator("h1")).to_have_text(strict.house.languages[language]("Too many attempts"))
            look(page, language, turn=False)


def test_the_language_can_be_switched_on_the_answer_to_a_form(
    new_page: NewPage, provider: Provider, portal: Portal, camille: Person
) -> None:
    english = ".foot button[lang=en]"
    page = new_page()
    page.goto(portal.sign_in)
    sign_in(page, camille, "Wrong=Horse8")
    page.locator(english).click()
    expect(page.locator("h1")).to_have_text("Sign in")
    expect(page.locator(".toward-name")).to_have_text("Procédures")
    page.locator(".foot button[lang=fr]").click()
    page.get_by_role("link", name="Mot de passe perdu").click()
    page.locator("#email").fill(camille.email)
    page.locator("#lost-password-submit").click()
    page.locator(english).click()
    expect(page.locator("h1")).to_have_text("Reset my password")
    page.goto(provider.link(camille.email, "lost-password"))
    page.locator(".foot button[lang=fr]").click()
    for name in ("password", "confirmation"):
        page.locator(f"#{name}").fill("Brand:New/Horse9")
    page.locator("#new-password-submit").click()
    expect(page.locator("h1")).to_have_text("Votre mot de passe a été modifié")
    page.locator(english).click()
    expect(page.locator("h1")).to_have_text("Sign in")
    sign_in(page, camille, "Brand:New/Horse9")
    expect(page.locator("#who")).to_have_text(camille.name)


@pytest.mark.parametrize("width", [320, 640, 1280])
def test_the_way_in_fits_a_narrow_window(new_page: NewPage, portal: Portal, camille: Person, width: int) -> None:
    page = new_page(viewport={"width": width, "height": 640})
    page.goto(portal.sign_in)
    assert_open_to_all(page)
    page.locator(".chooser a[href$='/smartcard']").click()
    assert_open_to_all(page)


def test_pictures_for_the_documents(new_page: NewPage, portal: Portal) -> None:
    for scheme in ("light", "dark"):
        page = new_page(color_scheme=scheme, viewport=WINDOW)
        page.goto(portal.sign_in)
        expect(page.locator("#email")).to_be_visible()
        picture(page, f"sign-in-{scheme}")
    phone = new_page(color_scheme="light", viewport={"width": 390, "height": 844}, device_scale_factor=2)
    phone.goto(portal.sign_in)
    expect(phone.locator("#email")).to_be_visible()
    picture(phone, "sign-in-phone")

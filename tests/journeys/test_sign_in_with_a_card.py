"""Somebody signs in with a smartcard: a real signer, a real token, a real browser."""

import os
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from services.barriers import picture
from services.browser import FLAGS, NewPage
from services.needs import program
from services.people import sign_in
from services.portal import Portal
from services.provider import Person, Provider
from services.signer import Cards, RunSigner, Signer

REFERENCE = re.compile(r"[0-9A-F]{8}")
LOCALES = ("fr-FR", "en-GB")
NOT_RUNNING = "The card program does not answer. Start it on this computer: this page goes on looking for a while."
PIN_WRONG = "The PIN is wrong."
CANCELLED = "You cancelled. Nothing was signed."
NO_CARD = "No card was found. Check that it sits firmly in the reader and that the reader is connected."
NO_CERTIFICATE = "The card holds no certificate that can be used to sign in."
BUSY = "The card program is busy with another request. Finish or close its window, then try again."
NOT_KNOWN = (
    "If it is running already, it may not know this site: your administrator then has to add this site’s address to it."
)
DENIED = (
    "Your browser does not let this site reach the card program. Open the site settings with the icon to the left of"
    " the address, allow access to local programs (local network), then try again."
)
NOT_REGISTERED = (
    "This card is not registered. Sign in another way, or ask the help desk to add the card to your account."
)
REVOKED = "The certificate of this card has been revoked by its issuer and can no longer be used. Sign in another way."


def card_page(page: Page, portal: Portal) -> None:
    """From the portal to the page of the card."""
    page.goto(portal.sign_in)
    page.locator(".chooser a[href$='/smartcard']").click()
    expect(page.locator("#card-start")).to_be_visible()


def says(provider: Provider, locale: str, sentence: str) -> str:
    """A sentence of the pages in the language of a browser."""
    said = provider.house.languages[locale[:2]](sentence)
    assert (said == sentence) is (locale == "en-GB")
    return said


def expect_explained(page: Page, *sentences: str) -> None:
    """The page says this, and there are two ways on: once more, and with the password."""
    expect(page.locator("#card-status p")).to_have_text(list(sentences))
    expect(page.locator("#card-start")).to_be_visible()
    expect(page.locator(".chooser a[href$='/password']")).to_be_visible()


@pytest.mark.requirement("R67")
@pytest.mark.requirement("R89")
@pytest.mark.requirement("R98")
@pytest.mark.requirement("R99")
@pytest.mark.requirement("R100")
def test_a_card_and_its_pin_reach_the_highest_level(
    new_page: NewPage, portal: Portal, provider: Provider, alice: Person, signer: Signer
) -> None:
    page = new_page()
    card_page(page, portal)
    page.locator("#card-start").click()
    expect(page.locator("#who")).to_have_text("Alice Martin")
    expect(page.locator("#entity")).to_contain_text("Cabinet Martin")
    expect(page.locator("#acr")).to_have_attribute("data-acr", "loa3")
    expect(page.locator("#amr")).to_have_text("sc hwk pin mfa")
    assert ("login.succeeded", None) in provider.journal(alice)


@pytest.mark.requirement("R101")
def test_somebody_with_a_card_may_still_use_the_password(
    new_page: NewPage, portal: Portal, alice: Person, signer: Signer
) -> None:
    page = new_page()
    card_page(page, portal)
    page.locator("#card-start").click()
    expect(page.locator("#acr")).to_have_attribute("data-acr", "loa3")
    other = new_page()
    card_page(other, portal)
    other.locator(".chooser a[href$='/password']").click()
    sign_in(other, alice)
    expect(other.locator("#acr")).to_have_attribute("data-acr", "loa1")


def test_a_card_still_opens_an_account_whose_password_is_blocked(
    new_page: NewPage, portal: Portal, provider: Provider, camille: Person, cards: Cards, signer: Signer
) -> None:
    provider.enrol(camille, cards.file("spare"))
    signer.person("spare")
    page = new_page()
    page.goto(portal.sign_in)
    for _ in range(5):
        sign_in(page, camille, "Wrong=Horse8")
    expect(page.locator("#form-error .banner-title")).to_contain_text("bloqué")
    page.locator(".chooser a[href$='/smartcard']").click()
    page.locator("#card-start").click()
    expect(page.locator("#who")).to_have_text(camille.name)
    other = new_page()
    other.goto(portal.sign_in)
    sign_in(other, camille)
    expect(other.locator("#form-error .banner-title")).to_contain_text("bloqué")


def test_the_page_shows_what_is_happening_and_can_be_left(
    new_page: NewPage, portal: Portal, alice: Person, provider: Provider, signer: Signer
) -> None:
    signer.person("alice", delay=30)
    page = new_page(color_scheme="light", viewport={"width": 1280, "height": 860})
    card_page(page, portal)
    expect(page.locator("[data-step=find]")).to_have_attribute("data-state", "waiting")
    page.locator("#card-start").click()
    expect(page.locator("[data-step=find]")).to_have_attribute("data-state", "done")
    expect(page.locator("[data-step=choose]")).to_have_attribute("aria-current", "step")
    expect(page.locator("#card-cancel")).to_be_focused()
    picture(page, "sign-in-card")
    page.locator("#card-cancel").click()
    expect_explained(page, says(provider, "fr-FR", CANCELLED))
    expect(page.locator("#card-start")).to_be_focused()
    signer.person("alice")
    page.keyboard.press("Enter")
    expect(page.locator("#who")).to_have_text(alice.name)


@pytest.mark.parametrize("locale", LOCALES)
def test_a_wrong_pin_is_told_and_the_right_one_then_works(
    new_page: NewPage, portal: Portal, provider: Provider, alice: Person, signer: Signer, locale: str
) -> None:
    signer.person("alice", pin="0000")
    page = new_page(locale)
    card_page(page, portal)
    page.locator("#card-start").click()
    expect_explained(page, says(provider, locale, PIN_WRONG))
    expect(page.locator("[data-step=pin]")).to_have_attribute("data-state", "failed")
    signer.person("alice")
    page.locator("#card-start").click()
    expect(page.locator("#who")).to_have_text(alice.name)


@pytest.mark.parametrize("locale", LOCALES)
def test_somebody_who_declines_in_the_program_may_begin_again(
    new_page: NewPage, portal: Portal, provider: Provider, alice: Person, signer: Signer, locale: str
) -> None:
    signer.write({"cancel": True})
    page = new_page(locale)
    card_page(page, portal)
    page.locator("#card-start").click()
    expect_explained(page, says(provider, locale, CANCELLED))
    signer.person("alice")
    page.locator("#card-start").click()
    expect(page.locator("#who")).to_have_text(alice.name)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("card", ["expired", "signature"])
def test_a_card_that_is_out_of_date_or_made_for_signatures_is_not_taken(
    new_page: NewPage, portal: Portal, provider: Provider, signer: Signer, card: str, locale: str
) -> None:
    signer.person(card)
    page = new_page(locale)
    card_page(page, portal)
    page.locator("#card-start").click()
    expect_explained(page, says(provider, locale, NO_CERTIFICATE))


@pytest.mark.parametrize("locale", LOCALES)
def test_a_reader_without_a_card_is_told(
    new_page: NewPage, portal: Portal, provider: Provider, cards: Cards, run_signer: RunSigner, locale: str
) -> None:
    page = new_page(locale)
    with run_signer(provider.issuer, provider.signer_port, readers=cards.empty_readers):
        card_page(page, portal)
        page.locator("#card-start").click()
        expect_explained(page, says(provider, locale, NO_CARD))


@pytest.mark.parametrize("locale", LOCALES)
def test_a_program_that_does_not_know_this_site_is_told(
    new_page: NewPage, portal: Portal, provider: Provider, run_signer: RunSigner, locale: str
) -> None:
    page = new_page(locale)
    with run_signer("http://localhost:1", provider.signer_port):
        card_page(page, portal)
        page.locator("#card-start").click()
        # The program answers nothing to a site that it does not know, not even that it is there.
        expect_explained(page, says(provider, locale, NOT_RUNNING), says(provider, locale, NOT_KNOWN))


@pytest.mark.parametrize("locale", LOCALES)
def test_a_program_that_is_started_late_is_found(
    new_page: NewPage, portal: Portal, provider: Provider, alice: Person, run_signer: RunSigner, locale: str
) -> None:
    page = new_page(locale)
    card_page(page, portal)
    page.locator("#card-start").click()
    expect_explained(page, says(provider, locale, NOT_RUNNING), says(provider, locale, NOT_KNOWN))
    with run_signer(provider.issuer, provider.signer_port):
        expect(page.locator("#who")).to_have_text(alice.name)


@pytest.mark.parametrize("locale", LOCALES)
def test_two_pages_do_not_ask_at_once(
    new_page: NewPage, portal: Portal, provider: Provider, alice: Person, signer: Signer, locale: str
) -> None:
    signer.person("alice", delay=30)
    first, second = new_page(locale), new_page(locale)
    card_page(first, portal)
    first.locator("#card-start").click()
    expect(first.locator("[data-step=choose]")).to_have_attribute("data-state", "now")
    card_page(second, portal)
    second.locator("#card-start").click()
    expect_explained(second, says(provider, locale, BUSY))


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize(("card", "sentence"), [("stranger", NOT_REGISTERED), ("revoked", REVOKED)])
def test_a_card_that_nobody_has_or_that_was_revoked_opens_nothing(
    new_page: NewPage, portal: Portal, provider: Provider, signer: Signer, card: str, sentence: str, locale: str
) -> None:
    signer.person(card)
    page = new_page(locale)
    card_page(page, portal)
    page.locator("#card-start").click()
    expect(page.locator("#form-error .banner-title")).to_have_text(says(provider, locale, sentence))
    expect(page.locator("#form-error .reference .code")).to_have_text(REFERENCE)
    expect(page.locator("#card-start")).to_be_visible()
    expect(page.locator(".chooser a[href$='/password']")).to_be_visible()


def test_after_a_refused_card_the_right_one_still_works(
    new_page: NewPage, portal: Portal, alice: Person, signer: Signer
) -> None:
    signer.person("stranger")
    page = new_page()
    card_page(page, portal)
    page.locator("#card-start").click()
    expect(page.locator("#form-error")).to_be_visible()
    signer.person("alice")
    page.locator("#card-start").click()
    expect(page.locator("#who")).to_have_text(alice.name)


def test_without_script_the_page_says_what_it_needs_and_leads_on(
    new_page: NewPage, portal: Portal, alice: Person
) -> None:
    page = new_page(java_script_enabled=False)
    page.goto(portal.sign_in)
    page.locator(".chooser a[href$='/smartcard']").click()
    needs = re.compile("cette page a besoin de JavaScript")
    expect(page.locator("main")).to_contain_text(needs, use_inner_text=True)
    expect(page.locator("#card-start")).to_be_hidden()
    page.locator(".chooser a[href$='/password']").click()
    sign_in(page, alice)
    expect(page.locator("#who")).to_have_text(alice.name)


# The page as if it came from the internet: browsers then ask before it may reach programs of this computer ------------


@pytest.fixture
def wary(chromium: Browser, provider: Provider) -> Iterator[Browser]:
    """A browser that takes the provider for a site of the internet."""
    flag = f"--ip-address-space-overrides=127.0.0.1:{provider.port}=public"
    path = os.environ.get("CHROMIUM") or program(("chromium", "chromium-browser", "google-chrome"), "chromium")
    browser = chromium.browser_type.launch(executable_path=path, args=[*FLAGS, flag])
    yield browser
    browser.close()


@pytest.mark.parametrize("locale", LOCALES)
def test_a_browser_that_denies_access_is_explained(
    wary: Browser, portal: Portal, provider: Provider, signer: Signer, alice: Person, locale: str
) -> None:
    page = wary.new_page(locale=locale)
    card_page(page, portal)
    page.locator("#card-start").click()
    expect_explained(page, says(provider, locale, DENIED))
    page.locator(".chooser a[href$='/password']").click()
    sign_in(page, alice)
    expect(page.locator("#who")).to_have_text(alice.name)


def test_a_browser_that_was_allowed_reaches_the_program(
    wary: Browser, portal: Portal, provider: Provider, signer: Signer, alice: Person
) -> None:
    page = wary.new_page(locale="fr-FR")
    session = wary.new_browser_cdp_session()
    (target,) = [
        t for t in session.send("Target.getTargets")["targetInfos"] if t["type"] == "page" and t["url"] == "about:blank"
    ]
    permission = {"name": "loopback-network"}
    answer = {"permission": permission, "setting": "granted", "origin": provider.issuer}
    session.send("Browser.setPermission", {**answer, "browserContextId": target["browserContextId"]})
    card_page(page, portal)
    page.locator("#card-start").click()
    expect(page.locator("#who")).to_have_text(alice.name)
    session.detach()

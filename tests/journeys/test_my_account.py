"""Somebody looks after her account: what she tells, her password, her sessions, and the portals that know her."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect
from services.barriers import assert_open_to_all, picture
from services.browser import NewPage
from services.people import sign_in
from services.portal import Portal
from services.provider import PASSWORD, Person, Provider

WINDOW = {"width": 1280, "height": 860}
PAGES = ("", "account", "account/information", "account/password", "account/sessions", "account/portals")


def enter(page: Page, provider: Provider, person: Person, password: str = PASSWORD) -> None:
    page.goto(f"{provider.issuer}/login")
    sign_in(page, person, password)
    expect(page.locator("#logout-confirm")).to_be_visible()


def go(page: Page, name: str) -> None:
    page.get_by_role("link", name=name, exact=True).click()


@pytest.mark.requirement("R42", "R72", "C11", "C12")
def test_she_changes_what_she_tells_and_sees_it(new_page: NewPage, provider: Provider, camille: Person) -> None:
    page = new_page(viewport=WINDOW)
    enter(page, provider, camille)
    go(page, "Mon compte")
    go(page, "Modifier mes informations")
    page.get_by_label("Civilité").select_option(label="Madame")
    page.get_by_label("Indicatif du téléphone mobile").select_option(label="France (+33)")
    page.locator("#phone").fill("61234567889")
    page.locator("#information-submit").click()
    expect(page.locator("#form-error")).to_be_focused()
    assert_open_to_all(page)
    page.locator("#form-error a").click()
    expect(page.locator("#phone")).to_be_focused()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("06 12 34 56 78")
    page.locator("#address_street").fill("15 bis rue des Minimes")
    page.locator("#address_postal_code").fill("92400")
    page.locator("#address_city").fill("Courbevoie")
    page.locator("#representative_kind").select_option("cpi")
    page.locator("#information-submit").click()
    expect(page.get_by_role("status")).to_contain_text("Vos informations ont bien été enregistrées")
    expect(page.locator("main")).to_contain_text("+33 6 12 34 56 78")
    assert_open_to_all(page)
    picture(page, "account")


@pytest.mark.requirement("R52")
def test_a_new_password_ends_her_other_session_and_leaves_this_one(
    new_page: NewPage, provider: Provider, camille: Person
) -> None:
    page, other = new_page(viewport=WINDOW), new_page()
    for one in (page, other):
        enter(one, provider, camille)
    page.goto(f"{provider.issuer}/account/sessions")
    expect(page.get_by_text("ce navigateur")).to_have_count(1)
    expect(page.locator("section")).to_have_count(2)
    assert_open_to_all(page)
    page.goto(f"{provider.issuer}/account/password")
    page.locator("#current").fill(PASSWORD)
    for name in ("password", "confirmation"):
        page.locator(f"#{name}").fill("Brand:New/Horse9")
    page.get_by_role("button", name="Afficher : Mot de passe actuel").click()
    expect(page.locator("#current")).to_have_attribute("type", "text")
    page.locator("#password-submit").click()
    expect(page.get_by_role("status")).to_contain_text("Votre mot de passe a bien été mis à jour.")
    assert_open_to_all(page)
    other.reload()
    expect(other.locator("#login-submit")).to_be_visible()
    go(page, "Mon compte")
    expect(page.locator("#change-password")).to_be_visible()


def test_she_takes_a_permission_back_and_is_asked_again(
    new_page: NewPage, provider: Provider, partner: Portal, camille: Person
) -> None:
    page = new_page(viewport=WINDOW)
    page.goto(partner.sign_in)
    sign_in(page, camille)
    page.locator("#consent-allow").click()
    expect(page.locator("#who")).to_have_text(camille.name)
    page.goto(f"{provider.issuer}/account/portals")
    assert_open_to_all(page)
    page.get_by_role("button", name="Retirer l’autorisation : Veille Brevets").click()
    expect(page.get_by_role("status")).to_be_visible()
    page.goto(partner.sign_in)
    expect(page.locator("#consent-allow")).to_be_visible()


@pytest.mark.requirement("R26", "R27", "R35")
@pytest.mark.parametrize(("width", "locale"), [(320, "fr-FR"), (1280, "en-GB")])
def test_every_page_of_her_account_fits_and_is_open_to_all(
    new_page: NewPage, provider: Provider, camille: Person, width: int, locale: str
) -> None:
    page = new_page(locale, viewport={"width": width, "height": 720})
    enter(page, provider, camille)
    for path in PAGES:
        page.goto(f"{provider.issuer}/{path}")
        assert_open_to_all(page)
    page.locator("#logout-confirm").click()
    assert urlsplit(page.url).path == "/logout"
    page.goto(f"{provider.issuer}/account")
    expect(page.locator("#login-submit")).to_be_visible()

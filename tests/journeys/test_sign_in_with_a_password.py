"""Somebody signs in to a portal with e-mail and password."""

import pytest
from playwright.sync_api import expect
from services import portal as portals
from services.browser import NewPage
from services.people import sign_in
from services.portal import Portal
from services.provider import OFFICE, PASSWORD, Person, Provider


@pytest.mark.requirement("R6")
@pytest.mark.requirement("R22")
@pytest.mark.requirement("R90")
def test_the_portal_learns_who_came_for_which_entity_and_as_what(
    new_page: NewPage, portal: Portal, alice: Person
) -> None:
    page = new_page()
    page.goto(portal.address)
    page.locator("#sign-in").click()
    expect(page).to_have_title(f"Se connecter – {OFFICE}")
    expect(page.locator(".toward-name")).to_have_text("Procédures")
    assert page.locator("#email").get_attribute("autocomplete") == "username"
    assert page.locator("#password").get_attribute("autocomplete") == "current-password"
    sign_in(page, alice)
    expect(page.locator("#who")).to_have_text("Alice Martin")
    expect(page.locator("#entity")).to_contain_text("Cabinet Martin")
    expect(page.locator("#role")).to_have_attribute("data-role", "manager")
    expect(page.locator("#acr")).to_have_attribute("data-acr", "loa1")
    expect(page.locator("#amr")).to_have_text("pwd")


def test_an_installation_on_postgresql_signs_in_alike(new_page: NewPage, postgres_provider: Provider) -> None:
    person = postgres_provider.person()
    page = new_page()
    with portals.serving(postgres_provider, "Portail des brevets") as postgres_portal:
        page.goto(postgres_portal.sign_in)
        sign_in(page, person, "Wrong=Horse8")
        expect(page.locator("#form-error")).to_contain_text("L’adresse courriel ou le mot de passe n’est pas correct")
        sign_in(page, person)
        expect(page.locator("#who")).to_have_text(person.name)
    assert ("login.succeeded", None) in postgres_provider.journal(person)


def test_a_wrong_password_keeps_the_address_and_says_so(new_page: NewPage, portal: Portal, camille: Person) -> None:
    page = new_page()
    page.goto(portal.sign_in)
    sign_in(page, camille, "Wrong=Horse8")
    expect(page.locator("#form-error")).to_have_text("L’adresse courriel ou le mot de passe n’est pas correct.")
    expect(page.locator("#form-error")).to_be_focused()
    expect(page).to_have_title(f"Erreur : Se connecter – {OFFICE}")
    expect(page.locator("#email")).to_have_value(camille.email)
    expect(page.locator("#password")).to_have_value("")
    page.locator("#password").fill(PASSWORD)
    page.locator("#login-submit").click()
    expect(page.locator("#who")).to_have_text(camille.name)


def test_the_keyboard_alone_suffices(new_page: NewPage, portal: Portal, camille: Person) -> None:
    page = new_page()
    page.goto(portal.sign_in)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(2):  # the two ways to sign in
        page.keyboard.press("Tab")
        expect(page.locator(".chooser a:focus")).to_have_count(1)
    page.keyboard.press("Tab")
    expect(page.locator("#email")).to_be_focused()
    page.keyboard.type(camille.email)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Tab")
    expect(page.locator(".eye")).to_be_focused()
    page.keyboard.press("Space")
    expect(page.locator("#password")).to_have_attribute("type", "text")
    expect(page.locator(".eye")).to_have_attribute("aria-label", "Masquer\u00a0: Mot de passe")
    page.keyboard.press("Tab")
    expect(page.locator("#login-submit")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#who")).to_have_text(camille.name)


def test_no_script_is_needed(new_page: NewPage, portal: Portal, camille: Person) -> None:
    page = new_page(java_script_enabled=False)
    page.goto(portal.address)
    page.locator("#sign-in").click()
    expect(page.locator(".eye")).to_be_hidden()
    sign_in(page, camille, "Wrong=Horse8")
    expect(page.locator("#form-error")).to_be_visible()
    sign_in(page, camille)
    expect(page.locator("#who")).to_have_text(camille.name)


def test_somebody_who_is_signed_in_goes_straight_to_the_next_portal(
    new_page: NewPage, portal: Portal, provider: Provider, camille: Person
) -> None:
    page = new_page()
    page.goto(portal.sign_in)
    sign_in(page, camille)
    expect(page.locator("#who")).to_have_text(camille.name)
    with portals.serving(provider, "Portail des dessins") as other:
        page.goto(other.sign_in)
        expect(page.locator("#who")).to_have_text(camille.name)
        assert page.url == f"{other.address}/"
        page.goto(other.request(prompt="login"))
        expect(page.locator("#login-submit")).to_be_visible()


def test_giving_up_leads_back_to_the_portal_with_its_sentence(new_page: NewPage, portal: Portal) -> None:
    page = new_page()
    page.goto(portal.sign_in)
    page.get_by_role("button", name="Annuler et revenir à Procédures").click()
    expect(page.locator("#error")).to_have_attribute("data-error", "access_denied")
    assert page.url.startswith(portal.address)


def test_a_person_of_the_house_signs_in_without_a_portal(new_page: NewPage, provider: Provider, alice: Person) -> None:
    page = new_page()
    page.goto(provider.issuer)
    sign_in(page, alice)
    expect(page.locator("h1")).to_have_text("Bienvenue Alice Martin")
    expect(page.locator(".facts")).to_contain_text("Cabinet Martin")
    page.locator("#logout-confirm").click()
    expect(page.locator("h1")).to_have_text("Vous êtes déconnecté")

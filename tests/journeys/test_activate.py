"""Somebody gets an account from the staff, chooses its password by the link of the letter, and signs in."""

from playwright.sync_api import expect
from services.browser import NewPage
from services.people import sign_in
from services.portal import Portal
from services.provider import PASSWORD, Person, Provider, text

NEWCOMER = "nour.benali@example.org"


def test_the_letter_leads_to_a_password_and_the_password_to_the_portal(
    new_page: NewPage, portal: Portal, provider: Provider
) -> None:
    made = provider.idp("account", "add", NEWCOMER, "--given-name", "Nour", "--family-name", "Benali")
    assert made["state"] == "pending"
    nour = Person(made["id"], NEWCOMER, "Nour Benali")
    page = new_page()
    page.goto(portal.sign_in)
    sign_in(page, nour)
    expect(page.locator("#form-error")).to_be_visible()

    letter = provider.letter(NEWCOMER, "/activate/")
    assert "Bonjour Nour Benali" in text(letter)
    page.goto(provider.link(NEWCOMER, "activate"))
    expect(page.locator("h1")).to_have_text("Activez votre compte")
    expect(page.locator("main")).to_contain_text(NEWCOMER)
    page.locator("#password").fill(PASSWORD)
    page.locator("#confirmation").fill(PASSWORD)
    page.get_by_role("button", name="Activer mon compte").click()
    page.get_by_role("link", name="Aller à la connexion").click()
    sign_in(page, nour)
    expect(page.locator("#who")).to_have_text("Nour Benali")
    assert provider.idp("account", "show", NEWCOMER)["state"] == "active"


def test_an_activated_account_needs_no_other_page(new_page: NewPage, provider: Provider) -> None:
    email = "lou.petit@example.org"
    provider.idp("account", "add", email, "--given-name", "Lou", "--family-name", "Petit", "--locale", "en")
    assert "Hello Lou Petit" in text(provider.letter(email, "/activate/"))
    link = provider.link(email, "activate")
    page = new_page()
    for _ in range(2):  # looking at it, as mail programs do, consumes nothing
        page.goto(link)
        expect(page.locator("#new-password-submit")).to_be_visible()
    page.locator("#password").fill(PASSWORD)
    page.locator("#confirmation").fill(PASSWORD)
    page.locator("#new-password-submit").click()
    expect(page.locator("h1")).not_to_have_text("Activez votre compte")
    page.goto(link)
    expect(page.locator("h1")).to_have_text("Cette page n’est plus valable")

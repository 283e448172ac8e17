"""Somebody is blocked, or has lost the password: the mailed link is the way back, and it leads on to the portal."""

import pytest
from playwright.sync_api import Page, expect
from services.barriers import picture
from services.browser import NewPage
from services.people import sign_in
from services.portal import Portal
from services.provider import PASSWORD, Person, Provider, text

BLOCKED = {
    "fr-FR": "Votre compte est bloqué (nombre de tentatives maximal atteint)",
    "en-GB": "Your account is blocked (maximum number of attempts reached)",
}
WRONG, NEW = "Wrong=Horse8", "Brand:New/Horse9"


def choose(page: Page, password: str, confirmation: str | None = None) -> None:
    """Fill in and send the form for a new password."""
    page.locator("#password").fill(password)
    page.locator("#confirmation").fill(password if confirmation is None else confirmation)
    page.locator("#new-password-submit").click()


def ask_for_link(page: Page, email: str) -> None:
    """Fill in and send the form of a lost password."""
    page.locator("#email").fill(email)
    page.locator("#lost-password-submit").click()


@pytest.mark.requirement("R102")
@pytest.mark.requirement("R103")
@pytest.mark.requirement("R104")
@pytest.mark.requirement("R105")
@pytest.mark.requirement("R107")
def test_five_wrong_passwords_block_and_the_mailed_link_opens_again(
    new_page: NewPage, portal: Portal, provider: Provider, camille: Person
) -> None:
    page = new_page(color_scheme="light", viewport={"width": 1280, "height": 860})
    page.goto(portal.sign_in)
    for _ in range(4):
        sign_in(page, camille, WRONG)
        expect(page.locator("#form-error")).not_to_contain_text("bloqué")
    sign_in(page, camille, WRONG)
    expect(page.locator("#form-error .banner-title")).to_have_text(BLOCKED["fr-FR"])
    expect(page.locator("#email")).to_have_value("")  # the form below is for another account
    picture(page, "sign-in-blocked")
    sign_in(page, camille)
    expect(page.locator("#form-error .banner-title")).to_have_text(BLOCKED["fr-FR"])

    page.get_by_role("link", name="Réinitialiser mon mot de passe").click()
    ask_for_link(page, camille.email)
    expect(page.locator("h1")).to_have_text("Consultez votre messagerie")
    page.goto(provider.link(camille.email, "lost-password"))
    choose(page, NEW)
    expect(page.locator("h1")).to_have_text("Votre mot de passe a été modifié")
    page.get_by_role("link", name="Aller à la connexion").click()
    expect(page.locator(".toward-name")).to_have_text("Procédures")
    sign_in(page, camille, PASSWORD)
    expect(page.locator("#form-error")).to_be_visible()
    sign_in(page, camille, NEW)
    expect(page.locator("#who")).to_have_text(camille.name)
    assert provider.letter(camille.email, "bloqué")
    assert ("account.blocked", None) in provider.journal(camille)


@pytest.mark.requirement("R103")
def test_the_sentence_is_there_in_english_too(new_page: NewPage, portal: Portal, camille: Person) -> None:
    page = new_page("en-GB")
    page.goto(portal.sign_in)
    for _ in range(5):
        sign_in(page, camille, WRONG)
    expect(page.locator("#form-error .banner-title")).to_have_text(BLOCKED["en-GB"])
    expect(page.get_by_role("link", name="Reset my password")).to_be_visible()


def test_a_blocked_account_in_one_browser_is_blocked_in_every_other(
    new_page: NewPage, portal: Portal, camille: Person
) -> None:
    page, other = new_page(), new_page()
    page.goto(portal.sign_in)
    for _ in range(5):
        sign_in(page, camille, WRONG)
    other.goto(portal.sign_in)
    sign_in(other, camille)
    expect(other.locator("#form-error .banner-title")).to_have_text(BLOCKED["fr-FR"])


@pytest.mark.requirement("R23")
@pytest.mark.requirement("R24")
@pytest.mark.requirement("R25")
def test_a_lost_password_is_replaced_without_script_and_nobody_is_signed_in_by_it(
    new_page: NewPage, portal: Portal, provider: Provider, camille: Person
) -> None:
    page = new_page(java_script_enabled=False)
    page.goto(portal.sign_in)
    page.get_by_role("link", name="Mot de passe perdu").click()
    ask_for_link(page, "")
    expect(page.locator("#form-error")).to_contain_text("Saisissez votre adresse")
    ask_for_link(page, camille.email)
    expect(page.get_by_role("status")).to_contain_text("Si un compte existe pour cette adresse")
    page.goto(provider.link(camille.email, "lost-password"))
    choose(page, NEW)
    page.get_by_role("link", name="Aller à la connexion").click()
    expect(page.locator("#login-submit")).to_be_visible()
    sign_in(page, camille, NEW)
    expect(page.locator("#who")).to_have_text(camille.name)


@pytest.mark.requirement("R24")
def test_an_address_without_an_account_reads_the_same_page(
    new_page: NewPage, provider: Provider, camille: Person
) -> None:
    page = new_page()
    seen = []
    for email in (camille.email, "nobody@example.org"):
        page.goto(f"{provider.issuer}/lost-password")
        ask_for_link(page, email)
        seen.append(page.locator("main").inner_text())
    assert seen[0] == seen[1]


@pytest.mark.requirement("R106")
def test_the_rules_are_on_the_page_and_last_years_password_is_refused(
    new_page: NewPage, provider: Provider, camille: Person
) -> None:
    page = new_page()
    page.goto(f"{provider.issuer}/lost-password")
    ask_for_link(page, camille.email)
    page.goto(provider.link(camille.email, "lost-password"))
    assert page.locator("#password-rules li").count() >= 5
    choose(page, "short")
    expect(page.locator("#form-error")).to_be_focused()
    assert page.locator("#password-rules li[data-met=no]").count() >= 3
    choose(page, NEW, "something else")
    expect(page.locator("#confirmation-error")).to_contain_text("Les deux mots de passe")
    choose(page, PASSWORD)
    expect(page.locator("#password-error")).to_contain_text("que vous n’avez pas utilisé")
    choose(page, NEW)
    expect(page.locator("h1")).to_have_text("Votre mot de passe a été modifié")
    assert "modifié" in text(provider.letter(camille.email, "modifié"))


def test_a_link_works_once_and_only_the_newest_after_a_change(
    new_page: NewPage, provider: Provider, camille: Person
) -> None:
    page = new_page()
    for _ in range(2):
        page.goto(f"{provider.issuer}/lost-password")
        ask_for_link(page, camille.email)
    first, second = (provider.link(camille.email, "lost-password", number) for number in (1, 2))
    page.goto(second)
    choose(page, NEW)
    expect(page.locator("h1")).to_have_text("Votre mot de passe a été modifié")
    for used in (first, second):
        page.goto(used)
        expect(page.locator("h1")).to_have_text("Cette page n’est plus valable")
        expect(page.locator("main .button--primary")).to_be_visible()


def test_a_new_password_ends_the_sessions_of_every_browser(
    new_page: NewPage, portal: Portal, provider: Provider, camille: Person
) -> None:
    other = new_page()
    other.goto(provider.issuer)
    sign_in(other, camille)
    expect(other.locator("h1")).to_have_text(f"Bienvenue {camille.name}")
    page = new_page()
    page.goto(f"{provider.issuer}/lost-password")
    ask_for_link(page, camille.email)
    page.goto(provider.link(camille.email, "lost-password"))
    choose(page, NEW)
    expect(page.locator("h1")).to_have_text("Votre mot de passe a été modifié")
    other.reload()
    expect(other.locator("#login-submit")).to_be_visible()

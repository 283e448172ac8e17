"""Somebody who signed in with a password wants a page of the portal that demands a card."""

from playwright.sync_api import expect
from services.browser import NewPage
from services.people import sign_in
from services.portal import Portal
from services.provider import Person, Provider
from services.signer import Cards, Signer


def test_the_card_is_asked_for_and_the_session_rises(
    new_page: NewPage, portal: Portal, alice: Person, signer: Signer
) -> None:
    page = new_page()
    page.goto(portal.sign_in)
    sign_in(page, alice)
    expect(page.locator("#acr")).to_have_attribute("data-acr", "loa1")
    page.locator("#file-a-mark").click()
    expect(page.locator("#card-start")).to_be_visible()
    expect(page.locator("#email")).to_have_count(0)
    page.locator("#card-start").click()
    expect(page.locator("#depot")).to_have_attribute("data-acr", "loa3")
    page.goto(portal.sign_in)
    expect(page.locator("#amr")).to_have_text("pwd sc hwk pin mfa")


def test_somebody_without_a_card_comes_back_to_a_clear_sentence(
    new_page: NewPage, portal: Portal, camille: Person
) -> None:
    page = new_page()
    page.goto(portal.sign_in)
    sign_in(page, camille)
    page.locator("#file-a-mark").click()
    expect(page.locator("#error")).to_have_attribute("data-error", "unmet_authentication_requirements")
    expect(page.locator("#error")).to_contain_text("demande une carte à puce")
    page.goto(portal.address)
    expect(page.locator("#who")).to_have_text(camille.name)


def test_somebody_who_gives_up_comes_back_to_a_clear_sentence(new_page: NewPage, portal: Portal, alice: Person) -> None:
    page = new_page()
    page.goto(portal.sign_in)
    sign_in(page, alice)
    page.locator("#file-a-mark").click()
    page.get_by_role("button", name="Annuler et revenir à Procédures").click()
    expect(page.locator("#error")).to_have_attribute("data-error", "unmet_authentication_requirements")
    page.goto(portal.address)
    expect(page.locator("#acr")).to_have_attribute("data-acr", "loa1")


def test_the_card_of_somebody_else_does_not_lift_the_session(
    new_page: NewPage,
    portal: Portal,
    provider: Provider,
    alice: Person,
    camille: Person,
    cards: Cards,
    signer: Signer,
) -> None:
    provider.enrol(camille, cards.file("other"))
    page = new_page()
    page.goto(portal.sign_in)
    sign_in(page, camille)
    page.locator("#file-a-mark").click()
    signer.person("alice")
    page.locator("#card-start").click()
    expect(page.locator("#form-error .banner-title")).to_contain_text("un autre compte que celui")
    signer.person("other")
    page.locator("#card-start").click()
    expect(page.locator("#depot")).to_be_visible()


def test_somebody_who_is_not_signed_in_gives_the_card_alone(
    new_page: NewPage, portal: Portal, alice: Person, signer: Signer
) -> None:
    page = new_page()
    page.goto(portal.address)
    page.locator("#file-a-mark").click()
    page.locator("#card-start").click()
    expect(page.locator("#depot")).to_contain_text("Cabinet Martin")

"""Somebody is asked whether a portal of somebody else may learn who she is."""

import pytest
from playwright.sync_api import expect
from services.browser import NewPage
from services.people import sign_in
from services.portal import Portal
from services.provider import Person, Provider


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_what_is_allowed_once_is_not_asked_again(
    new_page: NewPage, partner: Portal, provider: Provider, camille: Person, script: bool
) -> None:
    page = new_page(java_script_enabled=script)
    page.goto(partner.sign_in)
    sign_in(page, camille)
    expect(page.locator("h1")).to_have_text("Transmettre vos informations à Veille Brevets ?")
    expect(page.locator(".facts")).to_contain_text(camille.name)
    page.locator("#consent-allow").click()
    expect(page.locator("#who")).to_have_text(camille.name)
    assert ("consent.given", None) in provider.journal(camille)
    page.goto(partner.sign_in)
    expect(page.locator("#who")).to_have_text(camille.name)
    assert page.url == f"{partner.address}/"


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_somebody_who_refuses_comes_back_and_nothing_was_told(
    new_page: NewPage, partner: Portal, provider: Provider, camille: Person, script: bool
) -> None:
    page = new_page(java_script_enabled=script)
    page.goto(partner.sign_in)
    sign_in(page, camille)
    page.locator("#consent-deny").click()
    expect(page.locator("#error")).to_have_attribute("data-error", "access_denied")
    assert {"consent.refused"} == {e for e, _ in provider.journal(camille) if e.startswith(("consent", "code"))}
    page.goto(partner.sign_in)
    expect(page.locator("#consent-allow")).to_be_visible()

"""Somebody signs out at the portal: the portal's session and the provider's end."""

from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, expect
from services.browser import NewPage
from services.people import sign_in
from services.portal import Portal
from services.provider import Person


def answer(page: Page, portal: Portal) -> dict[str, list[str]]:
    """What the provider says to the portal when it may show no page."""
    with page.expect_request(f"{portal.address}/callback*") as asked:
        page.goto(portal.request(prompt="none"))
    return parse_qs(urlsplit(asked.value.url).query)


def test_both_sessions_end_and_the_portal_says_so(new_page: NewPage, portal: Portal, camille: Person) -> None:
    page = new_page()
    assert answer(page, portal)["error"] == ["login_required"]
    page.goto(portal.sign_in)
    sign_in(page, camille)
    expect(page.locator("#who")).to_have_text(camille.name)
    assert "code" in answer(page, portal)
    page.goto(portal.address)
    page.locator("#sign-out").click()
    expect(page.locator("#signed-out")).to_be_visible()
    assert answer(page, portal)["error"] == ["login_required"]
    page.goto(portal.sign_in)
    expect(page.locator("#login-submit")).to_be_visible()


def test_signing_out_in_one_browser_leaves_another_signed_in(
    new_page: NewPage, portal: Portal, camille: Person
) -> None:
    page, other = new_page(), new_page()
    for one in (page, other):
        one.goto(portal.sign_in)
        sign_in(one, camille)
        expect(one.locator("#who")).to_have_text(camille.name)
    page.locator("#sign-out").click()
    expect(page.locator("#signed-out")).to_be_visible()
    assert "code" in answer(other, portal)


def test_a_link_to_sign_out_asks_first_and_can_be_declined(new_page: NewPage, portal: Portal, camille: Person) -> None:
    page = new_page()
    page.goto(portal.sign_in)
    sign_in(page, camille)
    expect(page.locator("#who")).to_have_text(camille.name)
    page.goto(f"{portal.provider.issuer}/end-session?client_id={portal.client.id}")
    expect(page.locator("h1")).to_have_text("Se déconnecter ?")
    page.get_by_role("link", name="Rester connecté").click()
    expect(page.locator("h1")).to_have_text(f"Bienvenue {camille.name}")
    page.goto(f"{portal.provider.issuer}/end-session?client_id={portal.client.id}")
    page.locator("#logout-confirm").click()
    expect(page.locator("h1")).to_have_text("Vous êtes déconnecté")
    assert answer(page, portal)["error"] == ["login_required"]

"""Somebody opens a link in the wrong browser, goes back, presses twice, or has many windows: never a dead end."""

from playwright.sync_api import Page, expect
from services.browser import NewPage
from services.people import sign_in
from services.portal import Portal
from services.provider import PASSWORD, Person, Provider


def expect_no_longer_valid(page: Page) -> None:
    """The page says so and leads on."""
    expect(page.locator("h1")).to_have_text("Cette page n’est plus valable")
    expect(page.locator(".reference .code")).to_be_visible()
    page.locator("main .button--primary").click()
    expect(page.locator("#login-submit, #logout-confirm")).to_be_visible()


def test_a_sign_in_page_opened_in_another_browser_is_refused(
    new_page: NewPage, portal: Portal, provider: Provider, camille: Person
) -> None:
    page, other = new_page(), new_page()
    page.goto(portal.sign_in)
    other.goto(page.url)
    expect_no_longer_valid(other)
    sign_in(page, camille)
    expect(page.locator("#who")).to_have_text(camille.name)


def test_a_changed_ticket_is_refused(new_page: NewPage, portal: Portal) -> None:
    page = new_page()
    page.goto(portal.sign_in)
    page.goto(page.url.replace(".", ".0", 1))
    expect_no_longer_valid(page)


def test_going_back_after_the_sign_in_leads_on(new_page: NewPage, portal: Portal, camille: Person) -> None:
    page = new_page()
    page.goto(portal.sign_in)
    sign_in(page, camille)
    expect(page.locator("#who")).to_have_text(camille.name)
    page.go_back()
    expect_no_longer_valid(page)
    expect(page.locator("h1")).to_have_text(f"Bienvenue {camille.name}")


def test_pressing_twice_signs_in_and_allows_once(
    new_page: NewPage, partner: Portal, provider: Provider, camille: Person
) -> None:
    page = new_page()
    page.goto(partner.sign_in)
    page.locator("#email").fill(camille.email)
    page.locator("#password").fill(PASSWORD)
    page.locator("#login-submit").dblclick()
    page.locator("#consent-allow").dblclick()
    expect(page.locator("#who")).to_have_text(camille.name)
    events = [event for event, _ in provider.journal(camille)]
    assert [events.count(name) for name in ("login.succeeded", "consent.given", "code.issued")] == [1, 1, 1]


def test_pressing_twice_costs_one_attempt(
    new_page: NewPage, portal: Portal, provider: Provider, camille: Person
) -> None:
    page = new_page()
    page.goto(portal.sign_in)
    page.locator("#email").fill(camille.email)
    page.locator("#password").fill("Wrong=Horse8")
    page.locator("#login-submit").dblclick()
    expect(page.locator("#form-error")).to_be_visible()
    assert [cause for _, cause in provider.journal(camille)].count("wrong_password") == 1


def test_two_windows_on_the_way_to_two_portals_both_arrive(
    new_page: NewPage, portal: Portal, partner: Portal, camille: Person
) -> None:
    page = new_page()
    page.goto(portal.sign_in)
    second = page.context.new_page()
    second.goto(partner.sign_in)
    sign_in(page, camille)
    expect(page.locator("#who")).to_have_text(camille.name)
    sign_in(second, camille)
    second.locator("#consent-allow").click()
    expect(second.locator("#who")).to_have_text(camille.name)


def test_a_form_that_lay_open_while_the_browser_forgot_its_cookies_says_so(
    new_page: NewPage, portal: Portal, camille: Person
) -> None:
    page = new_page()
    page.goto(portal.sign_in)
    page.context.clear_cookies()
    sign_in(page, camille)
    expect_no_longer_valid(page)


def test_a_broken_request_of_a_portal_is_not_sent_back_to_it(new_page: NewPage, portal: Portal) -> None:
    page = new_page()
    page.goto(portal.request(redirect_uri="https://elsewhere.example/"))
    expect(page.locator("#oauth-error")).to_contain_text("invalid_request")
    expect(page.locator("h1")).to_have_text("Cette connexion ne peut pas continuer")

"""What people do on the provider's pages."""

from playwright.sync_api import Page

from services.provider import PASSWORD, Person


def sign_in(page: Page, person: Person, password: str = PASSWORD) -> None:
    """Fill in e-mail and password and send them."""
    page.locator("#email").fill(person.email)
    page.locator("#password").fill(password)
    page.locator("#login-submit").click()

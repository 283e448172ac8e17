"""The page that asks whether a portal may know: shown to whom it must, remembered, and impossible to forge."""

from services.office import ISSUER, Office, answered
from services.visitor import Browser, Page


def at_consent(office: Office, name: str = "alice", **changes: str) -> tuple[Browser, Page]:
    browser = office.browser()
    page = browser.sign_in(f"{name}@e1.example", client="consent1", **changes)
    assert {"consent-allow", "consent-deny"} <= set(page.ids), page.text
    return browser, page


def test_the_page_says_who_asks_for_what_and_allowing_leads_on(office: Office) -> None:
    browser, page = at_consent(office)
    for words in ("Portal consent1", "Alice Martin", "alice@e1.example", "Étude Martin"):
        assert words in page.text
    done = browser.submit(page, "consent-allow")
    tokens = answered(office.redeem(done, "consent1"))
    assert "refresh_token" in tokens
    assert [(e["account"], e["client"]) for e in office.journal("consent.given")] == [
        (office.id_of("alice"), "consent1")
    ]


def test_refusing_comes_back_as_access_denied_and_is_not_remembered(office: Office) -> None:
    browser, page = at_consent(office)
    answer = browser.submit(page, "consent-deny").answer
    assert answer == {"error": "access_denied", "state": "a state", "iss": ISSUER}
    assert "consent-allow" in browser.authorize("consent1").ids
    assert office.rows("SELECT count(*) FROM consents")[0][0] == 0
    assert len(office.journal("consent.refused")) == 1


def test_an_answer_is_remembered_for_these_scopes_this_portal_and_this_person(office: Office) -> None:
    browser, page = at_consent(office, scope="openid email")
    browser.submit(page, "consent-allow")
    assert browser.authorize("consent1", scope="openid email", prompt="none").answer["code"]
    assert browser.authorize("consent1", scope="openid", prompt="none").answer["code"]
    wider = browser.authorize("consent1", scope="openid email entity", prompt="none")
    assert wider.answer["error"] == "consent_required"
    assert "consent-allow" in browser.authorize("consent1", scope="openid email entity").ids
    at_consent(office, "bob", scope="openid email")


def test_prompt_consent_asks_again(office: Office) -> None:
    browser, page = at_consent(office)
    browser.submit(page, "consent-allow")
    again = browser.authorize("consent1", prompt="consent")
    assert "consent-allow" in again.ids
    assert browser.submit(again, "consent-allow").answer["code"]


def test_a_portal_of_the_office_asks_nothing(office: Office) -> None:
    assert office.browser().sign_in(client="web1").answer["code"]
    assert "consent-allow" in office.browser().sign_in(client="web1", prompt="consent").ids


def test_a_yes_is_taken_once_from_its_own_browser_and_for_what_was_shown(office: Office) -> None:
    browser, page = at_consent(office, scope="openid email")
    where, sent = browser.filled(page, "consent-allow")
    thief, other = at_consent(office, "bob")
    foreign, _ = thief.filled(other, "consent-allow")
    assert browser.post(foreign, sent).status_code == 400
    assert (
        thief.post(where, {**sent, "csrf_token": other.form("consent-allow").fields["csrf_token"]}).status_code == 400
    )
    assert browser.post(where, {**sent, "csrf_token": "x"}).status_code == 400
    assert browser.post(where.replace("/consent/", "/login/"), sent).status_code in (400, 404, 405)
    done = browser.post(where, {**sent, "scope": "openid email entity roles offline_access", "client_id": "web2"})
    assert done.status_code == 303
    assert done.headers["Location"].startswith("https://consent1.example/cb?code=")
    assert office.rows("SELECT scopes FROM consents")[0][0] in ('["openid", "email"]', ["openid", "email"])
    assert browser.post(where, sent).status_code == 400
    assert len(office.journal("code.issued")) == 1


def test_neither_yes_nor_no_is_no(office: Office) -> None:
    browser, page = at_consent(office)
    where, sent = browser.filled(page, "consent-allow")
    answer = browser.post(where, {"csrf_token": sent["csrf_token"]})
    assert answer.headers["Location"].startswith("https://consent1.example/cb?error=access_denied")


def test_a_yes_after_signing_out_gives_nothing(office: Office) -> None:
    browser, page = at_consent(office)
    where, sent = browser.filled(page, "consent-allow")
    out = browser.visit("/logout")
    browser.submit(out, "logout-confirm")
    assert browser.post(where, sent).status_code == 400
    assert browser.visit(page.path).status == 400
    assert browser.authorize(prompt="none").answer["error"] == "login_required"
    assert office.journal("code.issued") == []
    assert office.rows("SELECT count(*) FROM sessions WHERE ended_at IS NULL")[0][0] == 0


def test_a_yes_after_somebody_else_signed_in_gives_nothing_of_the_first(office: Office) -> None:
    browser, page = at_consent(office)
    where, sent = browser.filled(page, "consent-allow")
    browser.sign_in("bob@e1.example", client="web1", prompt="login")
    assert browser.post(where, sent).status_code == 400
    assert [e["client"] for e in office.journal("code.issued")] == ["web1"]

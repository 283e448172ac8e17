"""Where a person is signed in, and what portals know: hers to see and to end, and nobody else's."""

import pytest
from services.office import Office, answered
from services.visitor import Browser

from idp import clock
from idp.language import Translator
from idp.web import programs

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0"


def signed_in(office: Office, name: str = "alice", address: str = "192.0.2.10") -> Browser:
    browser = office.browser(address)
    browser.sign_in(f"{name}@e1.example")
    return browser


def alive(browser: Browser) -> bool:
    return browser.visit("/account").path == "/account"


def ids(office: Office, name: str) -> list[str]:
    found = office.rows("SELECT id FROM sessions WHERE account_id = :who AND ended_at IS NULL", who=office.id_of(name))
    return [row[0] for row in found]


def test_the_list_tells_when_where_and_with_what_and_marks_this_one(office: Office) -> None:
    here = signed_in(office)
    signed_in(office, address="198.51.100.7")
    office.execute("UPDATE sessions SET user_agent = :agent WHERE address = '198.51.100.7'", agent=FIREFOX)
    page = here.visit("/account/sessions")
    assert page.text.count("ce navigateur") == 1
    for words in ("198.51.100.7", "192.0.2.10", "Firefox, Linux", "heure de Paris"):
        assert words in page.text
    assert len([form for form in page.forms if form.action.endswith("/end")]) == 1
    assert "end-others" not in signed_in(office, "bob").visit("/account/sessions").ids


def test_one_session_ends_with_what_was_given_in_it(office: Office) -> None:
    here, there = signed_in(office), office.browser()
    tokens = answered(office.redeem(there.sign_in(scope="openid")))
    page = here.visit("/account/sessions")
    (button,) = [name for form in page.forms if form.action.endswith("/end") for name in form.buttons]
    assert "La session a bien été fermée" in here.submit(page, button).text
    assert (alive(here), alive(there)) == (True, False)
    assert office.user_info(tokens["access_token"]).status_code == 401
    assert [e["cause"] for e in office.journal("session.ended")] == ["account"]
    assert here.submit(page, button).status == 404


def test_all_others_end_at_once(office: Office) -> None:
    here, there, bob = signed_in(office), [signed_in(office) for _ in range(3)], signed_in(office, "bob")
    here.submit(here.visit("/account/sessions"), "end-others")
    assert alive(here)
    assert alive(bob)
    assert not any(alive(other) for other in there)
    assert len(office.journal("session.ended")) == 3


def test_somebody_elses_session_is_not_there(office: Office) -> None:
    alice, bob = signed_in(office), signed_in(office, "bob")
    token = alice.visit("/account/sessions").form("logout-confirm").fields["csrf_token"]
    (other,) = ids(office, "bob")
    for sid in (other, "0" * 32, "x"):
        assert alice.post(f"/account/sessions/{sid}/end", {"csrf_token": token}).status_code == 404
    assert alive(bob)
    assert office.journal("session.ended") == []


def test_a_session_that_idled_too_long_is_not_listed(office: Office) -> None:
    signed_in(office)
    with clock.fixed(clock.now() + office.house.settings.sessions.idle_seconds):
        here = signed_in(office)
        assert len([form for form in here.visit("/account/sessions").forms if form.action.endswith("/end")]) == 0


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (FIREFOX, "Firefox, Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) … Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0", "Edge, Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) … Version/18.0 Safari/604.1", "Safari, iPhone"),
        ("Mozilla/5.0 (Linux; Android 15) … Chrome/140.0.0.0 Mobile Safari/537.36", "Chrome, Android"),
        ("curl/8", "Unknown browser"),
        ("", "Unknown browser"),
    ],
)
def test_browsers_have_names(agent: str, words: str) -> None:
    assert programs.in_words(Translator("en", {}), agent) == words


def test_a_permission_is_shown_and_can_be_taken_back(office: Office) -> None:
    browser = office.browser()
    asked = browser.sign_in(client="consent1")
    tokens = answered(office.redeem(browser.submit(asked, "consent-allow"), "consent1"))
    own = office.tokens("alice", client="web1")
    page = browser.visit("/account/portals")
    for words in ("Portal consent1", "alice@e1.example", "Étude Martin"):
        assert words in page.text
    assert "Portal web1" not in page.text
    done = browser.submit(page, "withdraw-1")
    assert "autorisation a bien été retirée" in done.text
    assert "Portal consent1" not in done.text
    assert office.user_info(tokens["access_token"]).status_code == 401
    assert office.refresh(tokens["refresh_token"], "consent1").status_code == 400
    assert office.user_info(own["access_token"]).status_code == 200
    assert [(e["account"], e["client"]) for e in office.journal("consent.withdrawn")] == [
        (office.id_of("alice"), "consent1")
    ]
    assert "consent-allow" in browser.authorize("consent1").ids
    assert browser.submit(page, "withdraw-1").status == 404


def test_nobody_takes_back_what_another_allowed(office: Office) -> None:
    alice = office.browser()
    tokens = answered(office.redeem(alice.submit(alice.sign_in(client="consent1"), "consent-allow"), "consent1"))
    bob = signed_in(office, "bob")
    token = bob.visit("/account/portals").form("logout-confirm").fields["csrf_token"]
    assert bob.post("/account/portals", {"csrf_token": token, "client_id": "consent1"}).status_code == 404
    assert office.user_info(tokens["access_token"]).status_code == 200

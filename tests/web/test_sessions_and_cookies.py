"""Cookies, sessions and forms: what a browser carries, what ends it, and what another site cannot make it do."""

from collections.abc import Callable

import pytest
from services.office import Office, Opens, answered
from services.visitor import PASSWORD, Browser, Page
from werkzeug.test import TestResponse

from idp import clock

NOW = 1_800_000_000
SESSION = "__Host-session"


def signed_in(office: Office, name: str = "alice") -> Browser:
    browser = office.browser()
    assert browser.sign_in(f"{name}@e1.example").answer["code"]
    return browser


def anonymous(browser: Browser) -> bool:
    return browser.authorize(prompt="none").answer.get("error") == "login_required"


def test_every_cookie_is_bound_to_this_host_and_out_of_reach_of_scripts(office: Office) -> None:
    browser = signed_in(office)
    page = browser.visit("/")
    browser.submit(page, "en", language="en")
    browser.submit(browser.visit("/logout"), "logout-confirm")
    names = set()
    for header in browser.set_cookies:
        pair, *attributes = [part.strip() for part in header.split(";")]
        names.add(pair.partition("=")[0])
        lower = {a.lower() for a in attributes}
        assert {"secure", "httponly", "path=/"} <= lower, header
        assert {"samesite=lax", "samesite=strict"} & lower, header
        assert not [a for a in lower if a.startswith("domain")], header
        assert len(header) < 4096
    assert names == {"__Host-browser", "__Host-session", "__Host-language"}


def test_secrets_in_cookies_are_long_random_and_different_each_time(office: Office) -> None:
    values = [signed_in(office).cookies for _ in range(3)]
    for name in (SESSION, "__Host-browser"):
        assert len({v[name] for v in values}) == 3
        assert all(len(v[name]) >= 43 for v in values)


def test_over_http_on_loopback_the_same_cookies_have_no_prefix(opened: Opens) -> None:
    office = opened(server={"issuer": "http://localhost:8000"})
    browser = office.browser()
    assert browser.sign_in().answer["code"]
    assert browser.cookies.keys() == {"browser", "session"}
    assert not [header for header in browser.set_cookies if "secure" in header.lower().split(";", 1)[1]]


@pytest.mark.parametrize("prompt", [None, "login"])
def test_each_sign_in_gives_a_new_session_cookie_and_the_old_one_is_nobody(office: Office, prompt: str | None) -> None:
    browser = office.browser()
    browser.cookies[SESSION] = "p" * 43
    page = browser.authorize()
    assert browser.cookies[SESSION] == "p" * 43
    browser.submit(page, "login-submit", email="alice@e1.example", password=PASSWORD)
    first = browser.copy()
    assert first.cookies[SESSION] != "p" * 43
    assert not anonymous(first)
    page = browser.authorize(prompt="login")
    browser.submit(page, "login-submit", email="alice@e1.example", password=PASSWORD)
    assert anonymous(first)
    assert not anonymous(browser)


def test_a_copied_jar_is_nobody_after_signing_out_on_any_node(office: Office) -> None:
    browser = signed_in(office)
    thief = browser.copy()
    elsewhere = office.again().browser()
    elsewhere.cookies = dict(browser.cookies)
    assert not anonymous(elsewhere)
    browser.submit(browser.visit("/logout"), "logout-confirm")
    assert SESSION not in browser.cookies
    assert [anonymous(b) for b in (browser, thief, elsewhere)] == [True] * 3


def test_a_session_ends_by_idling(opened: Opens) -> None:
    office = opened(sessions={"idle_seconds": 600})
    with clock.fixed(NOW) as advance:
        browser = signed_in(office)
        for _ in range(4):
            advance(599)
            assert not anonymous(browser)
        advance(601)
        assert anonymous(browser)
        advance(-3600)
        assert anonymous(browser)


def test_a_session_ends_by_age_although_it_is_used_every_minute(opened: Opens) -> None:
    office = opened(sessions={"idle_seconds": 600, "absolute_seconds": 1800})
    with clock.fixed(NOW) as advance:
        browser = signed_in(office)
        for _ in range(29):
            advance(60)
            assert not anonymous(browser)
        advance(60)
        assert anonymous(browser)
        advance(-3600)
        assert anonymous(browser)


def test_a_disabled_person_is_nobody_at_once_on_every_node(office: Office) -> None:
    browsers = [signed_in(office, "bob"), signed_in(office.again(), "bob")]
    office.disable("bob")
    assert [anonymous(b) for b in browsers] == [True, True]
    assert browsers[0].visit("/").path.startswith("/login/")


def test_planted_and_doubled_cookies_sign_nobody_in(office: Office) -> None:
    browser, nobody = signed_in(office), office.browser()
    own = browser.cookies[SESSION]
    for header in (f"={SESSION}={own}", f"session={own}", f"__host-session={own}", f"{SESSION}x={own}", f'{SESSION}="{own}x"', f"{SESSION}={'x' * 16000}", f"{SESSION}={own[:-1]}", f"{SESSION}=é\x7f", f"{SESSION}=%00"):  # fmt: skip
        answer = nobody.get("/", headers={"Cookie": header.encode().decode("latin-1")}, keep=False)
        assert answer.status_code == 303, header
        assert answer.headers["Location"] == "/login", header
    both = {"Cookie": f"{SESSION}={own}; {SESSION}=planted"}
    assert {nobody.get("/", headers=both, keep=False).status_code for _ in range(3)} in ({200}, {303})


# Forms of other sites ---------------------------------------------------------------------------------------------

Door = Callable[[Office], tuple[Browser, Page, str]]


def login_door(office: Office) -> tuple[Browser, Page, str]:
    browser = office.browser()
    return browser, browser.authorize(), "login-submit"


def consent_door(office: Office) -> tuple[Browser, Page, str]:
    browser = office.browser()
    return browser, browser.sign_in(client="consent1"), "consent-allow"


def logout_door(office: Office) -> tuple[Browser, Page, str]:
    browser = signed_in(office)
    return browser, browser.visit("/logout"), "logout-confirm"


def ask_door(office: Office) -> tuple[Browser, Page, str]:
    browser = office.browser()
    return browser, browser.visit("/lost-password"), "lost-password-submit"


def reset_door(office: Office) -> tuple[Browser, Page, str]:
    browser, page, button = ask_door(office)
    browser.submit(page, button, email="alice@e1.example")
    return browser, browser.visit(office.link("alice@e1.example")), "new-password-submit"


def language_door(office: Office) -> tuple[Browser, Page, str]:
    browser = office.browser()
    return browser, browser.visit("/lost-password"), "en"


DOORS = [login_door, consent_door, logout_door, ask_door, reset_door, language_door]
FILLED = {"email": "alice@e1.example", "password": PASSWORD, "confirmation": PASSWORD}
FORGED: list[dict[str, str]] = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "http://id.example"},
    {"Origin": "https://id.example.evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("door", DOORS)
def test_a_form_of_another_site_changes_nothing(office: Office, door: Door) -> None:
    browser, page, button = door(office)
    where, sent = browser.filled(page, button, **FILLED)
    stranger = office.browser().visit("/lost-password").forms[0].fields["csrf_token"]
    before = state(office)
    answers: list[TestResponse] = [browser.post(where, sent, headers=headers) for headers in FORGED]
    for token in (None, "", "x", stranger, sent["csrf_token"].swapcase(), sent["csrf_token"] + "x", "é" * 43):
        changed = {**sent, "csrf_token": token} if token is not None else {k: v for k, v in sent.items() if k != "csrf_token"}  # fmt: skip
        answers.append(browser.post(where, changed))
    answers.append(browser.post(where, sent, headers={"Cookie": "x=y", "Sec-Fetch-Site": "cross-site"}))
    body = "&".join(f"{k}={v}" for k, v in sent.items())
    kinds = ("text/plain", "application/json", "multipart/form-data; boundary=x", "")
    answers += [browser.post(where, body, headers={"Content-Type": kind}) for kind in kinds]
    answers.append(browser.post(where, body + "&csrf_token=x", content_type="application/x-www-form-urlencoded"))
    assert {a.status_code for a in answers} == {400}
    assert not [a for a in answers if "__Host-session" in a.headers.get("Set-Cookie", "")]
    assert state(office) == before
    assert len(office.journal("request.refused")) == len(answers)
    assert browser.submit(page, button, **FILLED).status in (200, 303)


def state(office: Office) -> list[object]:
    """What the doors could change."""
    counted = [office.rows(f"SELECT count(*) FROM {t}")[0][0] for t in ("sessions", "consents", "grants", "letters", "idp_password_former")]  # fmt: skip
    living = office.rows("SELECT count(*) FROM sessions WHERE ended_at IS NULL")[0][0]
    return [*counted, living, len(office.journal("login.refused"))]


@pytest.mark.parametrize("door", DOORS)
def test_nothing_changes_by_any_other_method(office: Office, door: Door) -> None:
    browser, page, button = door(office)
    where, sent = browser.filled(page, button, **FILLED)
    before = state(office)
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"):
        browser.open(
            method, where, query_string={**sent, "_method": "POST"}, headers={"X-HTTP-Method-Override": "POST"}
        )
    assert state(office) == before
    assert {browser.open(m, where, data=sent).status_code for m in ("PUT", "PATCH", "DELETE")} == {405}


def test_a_sign_in_that_an_attacker_began_cannot_be_ended_in_the_victims_browser(office: Office) -> None:
    eve, victim = office.browser(), office.browser()
    page, own = eve.authorize(), victim.authorize()
    where, sent = eve.filled(page, "login-submit", email="bob@e1.example", password=PASSWORD)
    assert victim.post(where, sent).status_code == 400
    ours = own.form("login-submit")
    assert victim.post(ours.action, {**sent, "csrf_token": sent["csrf_token"]}).status_code == 400
    assert SESSION not in victim.cookies
    done = victim.submit(own, "login-submit", email="alice@e1.example", password=PASSWORD)
    assert office.claims(answered(office.redeem(done))["id_token"])["sub"] == office.id_of("alice")


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "data:text/html,x", "/\t/evil.example", "/%09/evil.example\r\nX: y", "evil", ""])  # fmt: skip
def test_no_way_back_leads_to_another_site(office: Office, target: str) -> None:
    browser = office.browser()
    page = browser.visit("/lost-password")
    where, sent = browser.filled(page, "en", next=target)
    answer = browser.post(where, sent)
    assert answer.headers["Location"].startswith("/")
    assert not answer.headers["Location"].startswith(("//", "/\\"))
    for name in ("next", "returnURL", "return_to", "url"):
        page = Browser(office.app, office.issuer).visit(f"/login?{name}=https://evil.example")
        done = browser.copy()
        assert page.outside is None
        assert "evil" not in (done.visit(page.path).outside or "")


def test_the_language_chosen_stays_and_no_other_is_taken(office: Office) -> None:
    browser = office.browser()
    assert '<html lang="fr">' in browser.visit("/lost-password").text
    page = browser.submit(browser.visit("/lost-password"), "en", language="en")
    assert '<html lang="en">' in page.text
    assert '<html lang="en">' in browser.authorize(ui_locales="fr").text
    where, sent = browser.filled(page, "fr", language="xx")
    browser.post(where, sent)
    assert '<html lang="en">' in browser.visit("/lost-password").text


def test_after_signing_in_to_the_house_itself_the_person_stands_at_home(office: Office) -> None:
    browser = office.browser()
    page = browser.visit("/")
    assert page.path.startswith("/login/")
    home = browser.submit(page, "login-submit", email="alice@e1.example", password=PASSWORD)
    assert (home.path, home.status) == ("/", 200)
    assert "Alice Martin" in home.text
    assert browser.visit("/login").path == "/"

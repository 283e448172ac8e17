"""Too many wrong passwords, as the person and the attacker see it."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from services.office import Office, Opens, answered, open_office
from services.visitor import PASSWORD, Browser, Page

from idp import clock
from idp.directory import accounts
from idp.errors import Misconfigured

NOW = 1_800_000_000
BOB = "bob@e1.example"
BLOCKED = {
    "fr": "Votre compte est bloqué (nombre de tentatives maximal atteint)",
    "en": "Your account is blocked (maximum number of attempts reached)",
}


def attempt(office: Office, email: str, password: str, address: str = "192.0.2.10", **changes: str) -> Page:
    return office.browser(address).sign_in(email, password, **changes)


def failures(office: Office, email: str = BOB) -> tuple[int, bool]:
    with office.inside() as on:
        found = office.house.lockout.count(on, accounts.get(on, email).id)
    return found.failed, found.blocked


def causes(office: Office) -> list[str]:
    return [str(e["cause"]) for e in office.journal("login.refused")]


def alike(page: Page) -> tuple[int, str]:
    """Status and text without what differs between any two pages: tokens, tickets and reference numbers."""
    text = re.sub(r"[0-9a-f]{32}\.[0-9a-f]{32}", "TICKET", page.text)
    text = re.sub(r'name="csrf_token" value="[^"]*"', "", text)
    text = re.sub(r"[a-z]+@[a-z0-9.]+example", "ADDRESS", text)
    return page.status, re.sub(r'class="code">[0-9A-F]{8}<', "REFERENCE", text)


@pytest.mark.requirement("R102", "R103")
@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_fifth_wrong_password_blocks_and_the_right_one_no_longer_counts(office: Office, language: str) -> None:
    with clock.fixed(NOW) as advance:
        for _ in range(4):
            page = attempt(office, BOB, "wrong", ui_locales=language)
            assert (page.status, "form-error" in page.ids) == (200, True)
            assert BLOCKED[language] not in page.text
        for wait in (0, 0, 600):
            advance(wait)
            browser = office.browser()
            page = browser.sign_in(BOB, "wrong" if not wait else PASSWORD, ui_locales=language)
            assert page.status == 200
            assert BLOCKED[language] in page.text
            assert {"id": "form-error", "role": "alert"}.items() <= banner(page).items()
            assert "/lost-password" in page.links
            assert "__Host-session" not in browser.cookies
            assert browser.authorize(prompt="none").answer["error"] == "login_required"
    assert causes(office) == ["wrong_password"] * 5 + ["blocked"] * 2
    assert [e["account"] for e in office.journal("account.blocked")] == [office.id_of("bob")]


def banner(page: Page) -> dict[str, str | None]:
    return next(attributes for _, attributes in page.tags if attributes.get("id") == "form-error")


def test_a_success_puts_the_count_back_to_zero(office: Office) -> None:
    for _ in range(2):
        for _ in range(4):
            attempt(office, BOB, "wrong")
        assert attempt(office, BOB, PASSWORD).answer["code"]
    assert failures(office) == (0, False)


def test_the_owner_of_an_account_is_told_once_that_it_is_blocked(office: Office) -> None:
    for _ in range(8):
        attempt(office, BOB, "wrong")
    assert [letter["To"] for letter in office.letters()] == [BOB]


@pytest.mark.requirement("C23")
def test_thirty_wrong_passwords_at_one_instant_are_verified_five_times(office: Office) -> None:
    browsers = [office.browser(f"192.0.2.{n}") for n in range(30)]
    forms = [(b, *b.filled(b.authorize(), "login-submit", email=BOB, password="Wrong;Tulle42")) for b in browsers]
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda f: f[0].post(f[1], f[2]).status_code, forms))
    assert set(answers) <= {200, 429}
    assert causes(office).count("wrong_password") == 5
    assert failures(office) == (5, True)
    assert office.rows("SELECT count(*) FROM guesses")[0][0] == 0


def test_twenty_right_passwords_at_one_instant_all_succeed(office: Office) -> None:
    def enter(browser: Browser) -> str:
        page = browser.authorize()
        for _ in range(20):
            done = browser.submit(page, "login-submit", email=BOB, password=PASSWORD)
            if done.status != 429:
                return done.answer["code"]
            assert int(done.headers["Retry-After"]) >= 1
            time.sleep(0.2)
        raise AssertionError("never let in")

    start = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        codes = list(pool.map(enter, [office.browser(f"192.0.2.{n}") for n in range(20)]))
    assert len(set(codes)) == 20
    assert time.monotonic() - start < 20
    assert failures(office) == (0, False)
    assert "blocked" not in causes(office)


@pytest.mark.parametrize("message", ["explicit", "neutral"])
def test_an_address_that_nobody_has_is_answered_like_one_that_somebody_has(opened: Opens, message: str) -> None:
    office = opened(lockout={"message": message})
    before = office.rows("SELECT count(*) FROM accounts")[0][0]
    real = [alike(attempt(office, BOB, "wrong")) for _ in range(7)]
    ghost = [alike(attempt(office, "ghost@free.example", "wrong")) for _ in range(7)]
    assert ghost == real
    assert (real[0] == real[6]) is (message == "neutral")
    assert office.rows("SELECT count(*) FROM accounts")[0][0] == before


def test_the_count_of_nobody_expires_by_itself_and_that_of_somebody_does_not(office: Office) -> None:
    with clock.fixed(NOW) as advance:
        for name in (BOB, "ghost@free.example"):
            for _ in range(5):
                attempt(office, name, "wrong")
        advance(86401)
        office.house.lockout.sweep()
        for name, blocked in ((BOB, True), ("ghost@free.example", False)):
            assert (BLOCKED["fr"] in attempt(office, name, "wrong").text) is blocked


def test_no_state_of_an_account_shows_before_the_right_password(office: Office) -> None:
    names = ("alice", "ghost", "nina", "zoe")
    pages = [attempt(office, f"{name}@e1.example", "Wrong;Tulle42") for name in names]
    assert len({alike(page) for page in pages}) == 1
    kept = [sorted(h for h in page.headers if h[0] != "Set-Cookie") for page in pages]
    lengths = [[h for h in headers if h[0] != "Content-Length"] for headers in kept]
    assert lengths[1:] == lengths[:-1]
    zoe = attempt(office, "zoe@e1.example", PASSWORD)
    assert alike(zoe) != alike(pages[0])
    assert zoe.outside is None


@pytest.mark.parametrize("hint", ["alice@e1.example", "ghost@e1.example", "zoe@e1.example"])
def test_a_login_hint_tells_nothing(office: Office, hint: str) -> None:
    assert alike(office.browser().authorize(login_hint=hint)) == alike(
        office.browser().authorize(login_hint="amir@e1.example")
    )


def test_spellings_of_one_address_share_one_count(office: Office) -> None:
    for email in ("BOB@E1.EXAMPLE", "bob@E1.example", "Bob@e1.example", "bob@\uff45\uff11.example", "boB@e1.EXAMPLE"):
        attempt(office, email, "wrong")
    assert failures(office) == (5, True)


@pytest.mark.parametrize("email", [" bob@e1.example", "bob@e1.example ", "bob@e1.example%20", "bob@e1.example.", '"bob"@e1.example', "bob@e1.example\n", "bob\u200b@e1.example", "bob@e1.example\0", "Bob <bob@e1.example>"])  # fmt: skip
def test_an_odd_spelling_is_not_the_account_and_its_password_is_never_checked(office: Office, email: str) -> None:
    page = attempt(office, email, PASSWORD)
    assert (page.status, page.outside) == (200, None)
    assert "form-error" in page.ids
    assert "wrong_password" not in causes(office)
    assert failures(office) == (0, False)


def test_sessions_and_refresh_tokens_live_on_while_an_account_is_blocked(office: Office) -> None:
    mine = office.browser("127.0.0.10")
    tokens = answered(office.redeem(mine.sign_in(BOB)))
    for _ in range(5):
        attempt(office, BOB, "wrong", "127.0.0.50")
    assert office.browser("127.0.0.10").sign_in(BOB).outside is None
    assert mine.authorize("web2", prompt="none").answer["code"]
    assert office.refresh(tokens["refresh_token"]).status_code == 200
    assert office.user_info(answered(office.redeem(mine.authorize()))["access_token"]).status_code == 200


# Addresses --------------------------------------------------------------------------------------------------------


def test_one_address_that_sprays_is_held_up_whatever_it_says_of_itself(opened: Opens) -> None:
    office = opened(throttle={"address_failures": 20})
    statuses = []
    for n in range(25):
        browser = office.browser("127.0.0.50")
        page = browser.authorize()
        where, sent = browser.filled(page, "login-submit", email=f"user{n}@e1.example", password="wrong")
        answer = browser.post(where, sent, headers={"X-Forwarded-For": f"10.0.0.{n}", "X-Real-IP": f"10.0.1.{n}"})
        statuses.append(answer.status_code)
    assert statuses == [200] * 20 + [429] * 5
    assert int(answer.headers["Retry-After"]) >= 1
    assert {e["address"] for e in office.journal("login.refused")} == {"127.0.0.50"}
    assert office.journal("account.blocked") == []
    assert causes(office)[20:] == ["throttled"] * 5
    assert attempt(office, BOB, PASSWORD, "127.0.0.51").answer["code"]


def test_a_held_up_address_may_try_again_when_its_ten_minutes_are_over(opened: Opens) -> None:
    office = opened(throttle={"address_failures": 3})
    with clock.fixed(NOW) as advance:
        for _ in range(3):
            attempt(office, "ghost@e1.example", "wrong")
        held = attempt(office, BOB, PASSWORD)
        assert held.status == 429
        advance(int(held.headers["Retry-After"]))
        assert attempt(office, BOB, PASSWORD).answer["code"]


def test_a_trusted_proxy_names_the_client(opened: Opens) -> None:
    office = opened(server={"trusted_proxies": ["127.0.0.1"]})
    browser = office.browser("127.0.0.1")
    for headers in (
        {"X-Forwarded-For": "198.51.100.9, 127.0.0.1"},
        {"X-Forwarded-For": "203.0.113.7, 198.51.100.9", "Forwarded": "for=203.0.113.8", "X-Real-IP": "203.0.113.9"},
        {"X-Forwarded-For": "::ffff:198.51.100.9"},
    ):
        where, sent = browser.filled(browser.authorize(), "login-submit", email=BOB, password="wrong")
        browser.post(where, sent, headers=headers)
    assert [e["address"] for e in office.journal("login.refused")] == ["198.51.100.9"] * 3


def test_a_whole_ipv6_network_is_one_client(opened: Opens) -> None:
    office = opened(throttle={"address_failures": 5})
    for n in range(5):
        attempt(office, f"ghost{n}@e1.example", "wrong", f"2001:db8:0:1::{n + 1}")
    assert attempt(office, BOB, PASSWORD, "2001:db8:0:1:ffff::9").status == 429
    assert attempt(office, BOB, PASSWORD, "2001:db8:0:2::1").answer["code"]


# Without a count, no check ----------------------------------------------------------------------------------------


def test_without_a_place_to_count_no_password_is_checked(office: Office) -> None:
    browser = office.browser()
    where, sent = browser.filled(browser.authorize(), "login-submit", email=BOB, password=PASSWORD)
    office.writable(False)
    answer = browser.post(where, sent)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert "__Host-session" not in browser.cookies
    office.writable(True)
    assert browser.post(where, sent).status_code == 303
    assert browser.authorize(prompt="none").answer["code"]


@pytest.mark.parametrize("number", [0, -1, 101, 1_000_000_000, "five", ""])
def test_a_limit_that_would_be_none_refuses_to_start(sqlite_url: str, tmp_path: Path, number: object) -> None:
    with pytest.raises(Misconfigured, match=r"lockout\.max_attempts"):
        open_office(sqlite_url, tmp_path, lockout={"max_attempts": number})


def test_a_double_click_on_sign_in_signs_in_once_and_says_nothing_wrong(office: Office) -> None:
    browser = office.browser()
    where, sent = browser.filled(browser.authorize(), "login-submit", email=BOB, password=PASSWORD)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: browser.copy().post(where, sent), range(2)))
    codes = [a.headers["Location"] for a in answers if a.status_code == 303]
    assert len(codes) == 1
    assert {a.status_code for a in answers} == {303, 400}
    assert len(office.journal("code.issued")) == 1


def test_two_tabs_reach_their_portals_with_one_session(office: Office) -> None:
    browser = office.browser()
    first, second = browser.authorize("web1"), browser.authorize("web2")
    one = answered(office.redeem(browser.submit(first, "login-submit", email=BOB, password=PASSWORD)))
    two = browser.visit(second.path)
    assert two.outside is not None
    other = answered(office.redeem(two, "web2"))
    sids = [office.claims(tokens["id_token"])["sid"] for tokens in (one, other)]
    assert sids[0] == sids[1]

"""A lost password: the letter, its link, and everything that ends when the password changes."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from services.mail import Mailbox
from services.office import MASTER, SECRETS, Office, Opens, answered, words
from services.visitor import PASSWORD, VERIFIER, Browser, Page

from idp import clock
from idp.directory import accounts

NOW = 1_800_000_000
NEW = "Tulle;Vigne42"
ALICE = "alice@e1.example"


def ask(office: Office, email: str, browser: Browser | None = None) -> Page:
    browser = browser or office.browser()
    return browser.submit(browser.visit("/lost-password"), "lost-password-submit", email=email)


def choose(browser: Browser, path: str, password: str = NEW, confirmation: str | None = None) -> Page:
    page = browser.visit(path)
    return browser.submit(page, "new-password-submit", password=password, confirmation=confirmation or password)


def plain(page: Page) -> str:
    """A page without what differs between any two pages: the token of its forms."""
    return re.sub(r'name="csrf_token" value="[^"]*"', "", page.text)


@pytest.mark.requirement("R23", "R24", "R25", "R105", "R107")
def test_a_letter_leads_to_a_new_password_and_the_person_signs_in_again(office: Office) -> None:
    browser = office.browser()
    page = ask(office, ALICE, browser)
    assert page.status == 200
    (letter,) = office.letters(ALICE)
    assert all("https://id.example/lost-password/" in words(letter, kind) for kind in ("plain", "html"))
    done = choose(browser, office.link(ALICE))
    assert done.status == 200
    assert "__Host-session" not in browser.cookies
    assert browser.sign_in(password=PASSWORD).outside is None
    assert browser.sign_in(password=NEW).answer["code"]
    changed = office.letters(ALICE)[-1]
    assert NEW not in changed.as_string()
    assert len(office.letters(ALICE)) == 2


@pytest.mark.requirement("R24")
def test_the_page_is_the_same_for_everybody_and_only_the_entitled_get_a_letter(office: Office) -> None:
    for _ in range(5):
        office.browser().sign_in("bob@e1.example", "wrong")
    blocked = len(office.letters("bob@e1.example"))
    people = (ALICE, "ghost@e1.example", "nina@e1.example", "zoe@e1.example", "bob@e1.example", "a@" + "b" * 64 + ".x")
    pages = {name: ask(office, name) for name in people}
    assert {page.status for page in pages.values()} == {200}
    assert len({plain(page) for page in pages.values()}) == 1
    assert len(office.letters()) == blocked + 2
    assert len(office.letters("bob@e1.example")) == blocked + 1


def test_looking_at_a_link_consumes_nothing_and_it_works_once(office: Office) -> None:
    ask(office, ALICE)
    path = office.link(ALICE)
    for _ in range(3):
        assert "new-password-submit" in office.browser().visit(path).ids
    browser = office.browser()
    page = browser.visit(path)
    where, sent = browser.filled(page, "new-password-submit", password=NEW, confirmation=NEW)
    assert browser.post(where, sent).status_code == 200
    assert (
        browser.post(where, {**sent, "password": "Autre;Tulle42", "confirmation": "Autre;Tulle42"}).status_code == 400
    )
    assert browser.get(path).status_code == 400
    assert office.browser().sign_in(password=NEW).answer["code"]


def test_one_link_used_ten_times_at_once_changes_the_password_once(office: Office) -> None:
    ask(office, ALICE)
    browser = office.browser()
    page = browser.visit(office.link(ALICE))
    new = [f"Tulle;Vigne{n}" for n in range(10, 20)]
    filled = [browser.filled(page, "new-password-submit", password=p, confirmation=p) for p in new]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda f: browser.copy().post(*f, keep=False).status_code, filled))
    assert sorted(answers) == [200] + [400] * 9
    assert len(office.journal("password.changed")) == 1
    assert office.browser().sign_in(password=new[answers.index(200)]).answer["code"]


def test_the_host_of_a_request_decides_no_link(office: Office) -> None:
    browser = office.browser()
    where, sent = browser.filled(browser.visit("/lost-password"), "lost-password-submit", email=ALICE)
    answer = browser.post(where, sent, headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert office.letters() == []
    browser.post(where, sent, headers={"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"})
    (letter,) = office.letters(ALICE)
    assert "evil.example" not in letter.as_string()
    assert all("evil" not in words(letter, kind) for kind in ("plain", "html"))


def test_nothing_secret_stands_in_the_database_or_the_log(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    browser = office.browser()
    code = browser.sign_in().answer["code"]
    tokens = answered(office.redeem(code))
    ask(office, ALICE)
    path = office.link(ALICE)
    ask(office, "bob@e1.example")  # stays sealed in the outbox
    page = office.browser().visit(path)
    assert "new-password-submit" in page.ids
    office.browser().sign_in(password="Wrong;Tulle42")
    secrets = [
        PASSWORD,
        "Wrong;Tulle42",
        VERIFIER,
        code,
        tokens["access_token"],
        tokens["refresh_token"],
        path.rpartition("/")[2],
        browser.cookies["__Host-session"],
        browser.cookies["__Host-browser"],
        SECRETS["web1"],
        MASTER,
    ]
    dump = dumped(office)
    assert len(dump) > 5000
    assert [s for s in secrets if s in dump] == []
    assert [s for s in secrets if s in caplog.text] == []


def dumped(office: Office) -> str:
    """Every value of every table, bytes as text."""
    tables = office.house.database.engine.dialect.get_table_names
    with office.house.database.read() as c:
        values = [str(v) for name in tables(c) for row in c.exec_driver_sql(f'SELECT * FROM "{name}"') for v in row]
    return "\n".join(values)


def test_a_link_that_is_wrong_or_late_opens_nothing(opened: Opens) -> None:
    office = opened(links={"reset_seconds": 600})
    with clock.fixed(NOW) as advance:
        ask(office, ALICE)
        path = office.link(ALICE)
        secret = path.rpartition("/")[2]
        other = "A" if secret[-1] != "A" else "B"
        browser = office.browser()
        for wrong in (
            secret[:-1] + other,
            secret.swapcase(),
            secret + "x",
            secret[:-1],
            "x",
            "%00",
            "é" * 50,
            "x" * 5000,
        ):
            assert browser.get(f"/lost-password/{wrong}").status_code in (400, 404), wrong
        assert browser.get(f"/activate/{secret}").status_code == 400
        advance(599)
        page = browser.visit(path + "?email=bob@e1.example")
        assert ALICE in page.text
        assert "bob@" not in page.form("new-password-submit").fields.get("email", "")
        where, sent = browser.filled(page, "new-password-submit", password=NEW, confirmation=NEW)
        advance(1)
        assert browser.get(path).status_code == 400
        assert browser.post(where, sent).status_code == 400
    assert office.browser().sign_in(password=PASSWORD).answer["code"]


def test_everything_that_was_signed_in_ends_with_the_old_password(office: Office) -> None:
    first, second, other = office.browser(), office.browser(), office.browser()
    codes = [browser.sign_in().answer["code"] for browser in (first, second)]
    tokens = answered(office.redeem(codes[0]))
    ask(office, ALICE, other)
    choose(other, office.link(ALICE))
    for browser in (first, second, other):
        assert browser.authorize(prompt="none").answer["error"] == "login_required"
    assert office.refresh(tokens["refresh_token"]).status_code == 400
    assert office.user_info(tokens["access_token"]).status_code == 401
    assert office.redeem(codes[1]).status_code == 400


def test_a_sign_in_that_waits_at_a_later_page_does_not_outlive_the_old_password(office: Office) -> None:
    thief = office.browser()
    waiting = thief.sign_in(client="consent1")
    assert "consent-allow" in waiting.ids
    ask(office, ALICE)
    choose(office.browser(), office.link(ALICE))
    for page in (thief.visit(waiting.path), thief.submit(waiting, "consent-allow")):
        assert page.outside is None
    assert thief.authorize(prompt="none").answer["error"] == "login_required"


def test_a_new_password_needs_the_mailed_link(office: Office) -> None:
    browser = office.browser()
    page = ask(office, ALICE, browser)
    token = page.forms[0].fields["csrf_token"]
    fields = {"csrf_token": token, "password": NEW, "confirmation": NEW, "email": ALICE, "step": "3"}
    office.letters()
    for path in ("/lost-password", "/lost-password/", "/lost-password/x", "/activate/x", "/lost-password/None"):
        assert browser.post(path, {**fields, "tryAnotherWay": "1"}).status_code in (200, 400, 404)
    assert office.browser().sign_in(password=PASSWORD).answer["code"]
    assert office.journal("password.changed") == []
    assert {"link_unknown"} <= {e["cause"] for e in office.journal("request.refused")}


@pytest.mark.parametrize("typed", ["ALICE@e1.example", "Alice@E1.EXAMPLE", "alice@\uff45\uff11.example"])
def test_the_letter_goes_to_the_address_of_the_account_not_to_the_one_typed(office: Office, typed: str) -> None:
    ask(office, typed)
    assert [letter["To"] for letter in office.letters()] == [ALICE]


@pytest.mark.parametrize("typed", ["al\u0131ce@e1.example", "\uff41lice@e1.example", "alice@e1.example\n", " alice@e1.example", "alice@e1.example,eve@evil.example", "alice\u00e9@e1.example"])  # fmt: skip
def test_an_address_that_only_looks_alike_gets_no_letter(office: Office, typed: str) -> None:
    assert ask(office, typed).status == 200
    assert office.letters() == []


def test_at_most_three_letters_leave_in_an_hour_and_every_link_lives_until_one_is_used(office: Office) -> None:
    with clock.fixed(NOW) as advance:
        pages, links = [], set()
        for n in range(20):
            pages.append(ask(office, ALICE, office.browser(f"203.0.113.{n}")))
            links.add(office.link(ALICE))
            advance(3)
        assert len(office.letters(ALICE)) == 3
        assert len({plain(page) for page in pages}) == 1
        for link in links:
            assert office.browser().get(link).status_code == 200
        choose(office.browser(), links.pop())
        assert {office.browser().get(link).status_code for link in links} == {400}
        advance(3600)
        ask(office, ALICE)
        assert len(office.letters(ALICE)) == 5


def test_the_page_of_a_link_leaks_it_nowhere(office: Office) -> None:
    ask(office, ALICE)
    path = office.link(ALICE)
    page = office.browser().visit(path)
    assert page.headers["Referrer-Policy"] in ("same-origin", "no-referrer")
    assert page.headers["Cache-Control"] == "no-store"
    assert [link for link in page.links if "://" in link] == []
    secret = path.rpartition("/")[2]
    assert [link for link in page.links if secret in link] == []
    sources = [v for _, a in page.tags for k, v in a.items() if k in ("src", "href", "action") and v]
    assert [s for s in sources if not s.startswith(("/", "#"))] == []


@pytest.mark.requirement("R106")
def test_the_rules_are_those_of_a_first_password_and_the_year_counts(office: Office) -> None:
    ask(office, ALICE)
    browser, path = office.browser(), office.link(ALICE)
    for weak in ("Court;1", "sansmajuscule;42", "SansChiffre;;", "SansSigne4242", PASSWORD, "Alice;Martin42"):
        page = choose(browser, path, weak)
        assert "form-error" in page.ids, weak
    page = choose(browser, path, NEW, "Autre;Tulle42")
    assert "form-error" in page.ids
    assert office.browser().sign_in(password=PASSWORD).answer["code"]
    assert "form-error" not in choose(browser, path).ids


@pytest.mark.requirement("R104")
def test_a_blocked_account_opens_with_the_new_password_only(office: Office) -> None:
    browser = office.browser()
    for _ in range(5):
        browser.sign_in(password="wrong")
    assert browser.sign_in(password=PASSWORD).outside is None
    ask(office, ALICE)
    choose(browser, office.link(ALICE))
    assert browser.sign_in(password=PASSWORD).outside is None
    assert office.again().browser().sign_in(password=NEW).answer["code"]


def test_an_account_that_waits_for_activation_cannot_be_entered_by_a_reset(office: Office) -> None:
    ask(office, "nina@e1.example")
    assert office.letters() == []
    assert office.browser().sign_in("nina@e1.example").outside is None
    with office.inside() as on:
        nina = accounts.get(on, "nina@e1.example")
        office.house.send_activation(on, nina)
    path = office.link("nina@e1.example")
    secret = path.rpartition("/")[2]
    assert office.browser().get(f"/lost-password/{secret}").status_code == 400
    page = choose(office.browser(), path)
    assert page.status == 200
    assert office.browser().sign_in("nina@e1.example", NEW).answer["code"]
    assert office.browser().get(path).status_code == 400


def test_a_mail_server_that_is_down_shows_to_nobody_and_the_letter_leaves_when_it_is_back(
    opened: Opens, smtp: Mailbox
) -> None:
    office = opened(mail={"url": smtp.url})
    smtp.answer = "451 later"
    start = time.monotonic()
    pages = [ask(office, name) for name in (ALICE, "ghost@e1.example")]
    assert time.monotonic() - start < 2
    assert plain(pages[0]) == plain(pages[1])
    with clock.fixed(clock.now()) as advance:
        assert office.house.outbox.deliver_due(office.house.database) == 0
        smtp.answer = "250 OK"
        advance(60)
        assert office.house.outbox.deliver_due(office.house.database) == 1
    assert [letter["To"] for letter in smtp.wait(1)] == [ALICE]

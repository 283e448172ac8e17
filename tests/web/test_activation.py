"""An account opened by staff: the letter, its deadline, and the one press of a button that activates it."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from services.office import Office, Opens, words
from services.visitor import PASSWORD, Browser, Page

from idp import clock
from idp.directory import accounts

NOW, DAY = 1_800_000_000, 86400
NEW = "Tulle;Vigne42"
NORA = "nora@e1.example"
SPELT = {3: "18 janvier 2027", 15: "30 janvier 2027"}


def invite(office: Office) -> str:
    """Staff opens an account for Nora; the path of the link in her letter."""
    with office.inside() as on:
        made = accounts.add(on, NORA, "Nora", "Petit", locale="fr")
        on.flush()
        office.house.send_activation(on, made)
    return office.link(NORA)


def choose(browser: Browser, path: str, password: str = NEW) -> Page:
    return browser.submit(browser.visit(path), "new-password-submit", password=password, confirmation=password)


def state(office: Office) -> str | None:
    found = office.rows("SELECT state FROM accounts WHERE email_key = :email", email=NORA)
    return found[0][0] if found else None


@pytest.mark.requirement("R19", "R21", "R88", "C24")
def test_the_letter_leads_to_a_password_and_from_there_to_the_sign_in(office: Office) -> None:
    path = invite(office)
    browser = office.browser()
    page = browser.authorize()
    assert "login-submit" in page.ids
    done = choose(browser, path)
    assert done.status == 200
    assert "Activation réussie" in done.text
    assert "vous pouvez dès à présent vous connecter" in done.text
    assert "L’ancien" not in done.text
    assert "__Host-session" not in browser.cookies
    assert state(office) == "active"
    back = next(link for link in done.links if link.startswith("/login/"))
    signed_in = browser.submit(browser.visit(back), "login-submit", email=NORA, password=NEW)
    assert signed_in.answer["code"]
    told = [(e["event"], e["cause"]) for e in office.journal() if e["account"] == office.id_of("nora")]
    assert told[:3] == [
        ("account.added", None),
        ("account.activated", None),
        ("password.changed", "activation"),
    ]


def test_without_a_portal_the_person_is_led_to_the_login_page(office: Office) -> None:
    done = choose(office.browser(), invite(office))
    assert "/login" in done.links


def test_a_page_in_english_says_so_too(office: Office) -> None:
    path = invite(office)
    browser = office.browser()
    page = browser.get(path, headers={"Accept-Language": "en"})
    assert page.status_code == 200
    shown = Page(page, path)
    where, sent = browser.filled(shown, "new-password-submit", password=NEW, confirmation=NEW)
    answer = browser.post(where, sent, headers={"Accept-Language": "en"})
    assert "you can sign in from now on" in answer.get_data(as_text=True)


@pytest.mark.requirement("R20", "R82", "R83", "C1")
@pytest.mark.parametrize("days", [3, 15])
def test_the_deadline_counts_to_the_second_also_before_any_clean_up(opened: Opens, days: int) -> None:
    office = opened(rules={"activation": {"deadline_days": days}})
    with clock.fixed(NOW) as advance:
        path = invite(office)
        (letter,) = office.letters(NORA)
        assert SPELT[days] in words(letter)
        browser = office.browser()
        advance(days * DAY - 1)
        page = browser.visit(path)
        where, sent = browser.filled(page, "new-password-submit", password=NEW, confirmation=NEW)
        late = office.browser()
        advance(1)
        assert browser.get(path).status_code == 400
        assert browser.post(where, sent).status_code == 400
        assert late.get(path).status_code == 400
        assert state(office) == "pending"
        office.house.keeper.run(clock.now())
        assert state(office) is None
        assert browser.get(path).status_code == 400
        assert choose(office.browser(), invite(office)).status == 200


def test_one_second_before_the_deadline_the_account_is_activated_and_stays(opened: Opens) -> None:
    office = opened(rules={"activation": {"deadline_days": 3}})
    with clock.fixed(NOW) as advance:
        path = invite(office)
        advance(3 * DAY - 1)
        assert choose(office.browser(), path).status == 200
        advance(1)
        office.house.keeper.run(clock.now())
        assert state(office) == "active"
        assert office.browser().sign_in(NORA, NEW).answer["code"]


def test_mail_scanners_that_open_the_link_activate_nothing(office: Office) -> None:
    path = invite(office)
    for _ in range(3):
        assert office.browser("203.0.113.9").get(path).status_code == 200
        assert office.browser("203.0.113.9").open("HEAD", path).status_code == 200
    assert state(office) == "pending"
    assert choose(office.browser(), path).status == 200


def test_a_link_activates_once(office: Office) -> None:
    path = invite(office)
    browser = office.browser()
    page = browser.visit(path)
    where, sent = browser.filled(page, "new-password-submit", password=NEW, confirmation=NEW)
    assert browser.post(where, sent).status_code == 200
    again = browser.post(where, {**sent, "password": "Autre;Tulle42", "confirmation": "Autre;Tulle42"})
    assert again.status_code == 400
    assert browser.get(path).status_code == 400
    assert office.browser().sign_in(NORA, NEW).answer["code"]
    assert len(re.sub(r".*/", "", path)) >= 22  # 128 bits


def test_ten_presses_at_once_activate_once(office: Office) -> None:
    browser = office.browser()
    page = browser.visit(invite(office))
    new = [f"Tulle;Vigne{n}" for n in range(10, 20)]
    filled = [browser.filled(page, "new-password-submit", password=p, confirmation=p) for p in new]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda f: browser.copy().post(*f, keep=False).status_code, filled))
    assert sorted(answers) == [200] + [400] * 9
    nora = office.id_of("nora")
    assert [e["account"] for e in office.journal("account.activated")].count(nora) == 1
    assert office.browser().sign_in(NORA, new[answers.index(200)]).answer["code"]


def test_activation_and_the_end_of_the_deadline_at_once_leave_no_half_account(opened: Opens) -> None:
    office = opened(rules={"activation": {"deadline_days": 3}})
    with clock.fixed(NOW) as advance:
        browser = office.browser()
        page = browser.visit(invite(office))
        filled = browser.filled(page, "new-password-submit", password=NEW, confirmation=NEW)
        advance(3 * DAY - 1)
        with ThreadPoolExecutor(2) as pool:
            pressed = pool.submit(lambda: browser.post(*filled).status_code)
            advance(1)
            pool.submit(lambda: office.house.keeper.run(clock.now())).result()
        assert (pressed.result(), state(office)) in ((200, "active"), (400, None))


def test_every_letter_works_until_one_was_used(office: Office) -> None:
    paths = [invite(office)]
    with office.inside() as on:
        office.house.send_activation(on, accounts.get(on, NORA))
    paths.append(office.link(NORA))
    assert [office.browser().get(path).status_code for path in paths] == [200, 200]
    assert choose(office.browser(), paths[0]).status == 200
    assert [office.browser().get(path).status_code for path in paths] == [400, 400]


@pytest.mark.requirement("R87")
def test_a_weak_password_activates_nothing(office: Office) -> None:
    path = invite(office)
    for weak in ("court;1A", "Nora;Petit42", "sans;majuscule42"):
        assert "form-error" in choose(office.browser(), path, weak).ids, weak
    assert state(office) == "pending"
    assert choose(office.browser(), path).status == 200


def test_before_activation_nothing_signs_in_and_no_reset_opens_the_account(office: Office) -> None:
    with clock.fixed(clock.now()) as advance:
        path = invite(office)
        browser = office.browser()
        assert browser.sign_in(NORA).outside is None
        assert "__Host-session" not in browser.cookies
        browser.submit(browser.visit("/lost-password"), "lost-password-submit", email=NORA)
        assert len(office.letters(NORA)) == 1
        advance(4 * DAY)
        browser.submit(browser.visit("/lost-password"), "lost-password-submit", email=NORA)
        secret = path.rpartition("/")[2]
        assert browser.get(f"/lost-password/{secret}").status_code == 400
        assert len(office.letters(NORA)) == 1
        assert state(office) == "pending"
        assert office.rows("SELECT count(*) FROM grants") == [(0,)]


# Letters for one network address ------------------------------------------------------------------------------------


def ask(office: Office, email: str, address: str = "192.0.2.10") -> Page:
    browser = office.browser(address)
    return browser.submit(browser.visit("/lost-password"), "lost-password-submit", email=email)


def crowd(office: Office, size: int) -> list[str]:
    """So many more people with active accounts; their addresses."""
    with office.inside() as on:
        for number in range(size):
            accounts.activate(on, accounts.add(on, f"p{number}@e1.example", "P", "Q"))
    return [f"p{number}@e1.example" for number in range(size)]


def test_ten_letters_an_hour_leave_for_one_network_address_and_the_page_says_nothing(opened: Opens) -> None:
    office = opened(throttle={"address_failures": 20})
    people = crowd(office, 14)
    with clock.fixed(NOW) as advance:
        pages = [re.sub(r'name="csrf_token" value="[^"]*"', "", ask(office, email).text) for email in people[:12]]
        assert len(set(pages)) == 1
        assert len(office.letters()) == 10
        assert [e["cause"] for e in office.journal("request.refused")] == ["letters_throttled"] * 2
        ask(office, people[12], "192.0.2.11")
        assert len(office.letters()) == 11
        advance(3599)
        ask(office, people[13])
        assert len(office.letters()) == 11
        advance(1)
        ask(office, people[13])
        assert len(office.letters()) == 12


def test_letters_and_wrong_passwords_are_counted_apart(opened: Opens) -> None:
    office = opened(throttle={"address_failures": 20})
    people = crowd(office, 11)
    for email in people:
        ask(office, email)
    assert office.browser().sign_in("alice@e1.example", "wrong").status == 200
    assert office.browser().sign_in("alice@e1.example", PASSWORD).answer["code"]


def test_letters_asked_for_at_once_never_exceed_the_limit(opened: Opens) -> None:
    office = opened(throttle={"address_failures": 20})
    people = crowd(office, 16)
    browser = office.browser()
    page = browser.visit("/lost-password")
    filled = [browser.filled(page, "lost-password-submit", email=email) for email in people]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda f: browser.copy().post(*f, keep=False).status_code, filled))
    assert answers == [200] * 16
    assert len(office.letters()) == 10

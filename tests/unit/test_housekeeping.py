"""Housekeeping: what is over goes, what may still be asked for stays, and nobody waits for it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from services.office import Office, Opens, answered, words
from services.visitor import PASSWORD
from sqlalchemy import insert, select

from idp import clock, housekeeping
from idp.directory import accounts, entities
from idp.errors import Unavailable
from idp.models import Account, Attempt, JoinRequest, Letter

NOW = 1_800_000_000
HOUR, DAY = 3600, 86400
NINA = "nina@e1.example"


def run(office: Office) -> dict[str, int]:
    """What a run did, without what it had nothing to do of."""
    return {kind: count for kind, count in office.house.keeper.run(clock.now()).items() if count}


def count(office: Office, table: str) -> int:
    return int(office.rows(f"SELECT count(*) FROM {table}")[0][0])


def invite(office: Office, name: str = "nora") -> str:
    """A new account that waits for its activation, with a letter on its way; its id."""
    with office.inside() as on:
        made = accounts.add(on, f"{name}@e1.example", "Nora", "Petit", locale="fr")
        on.flush()
        office.house.send_activation(on, made)
        return made.id


def state(office: Office, account_id: str) -> str | None:
    found = office.rows("SELECT state FROM accounts WHERE id = :id", id=account_id)
    return found[0][0] if found else None


@pytest.fixture(autouse=True)
def _nobody_waits_by_itself(office_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "BATCH", 3)  # several batches for a handful of rows


def quiet(office: Office) -> None:
    """Nina of the template, who was added when the machine's clock said so, waits no longer."""
    office.execute("DELETE FROM accounts WHERE email_key = :email", email=NINA)


def test_sign_ins_that_were_not_ended_go_a_day_after_their_end(office: Office) -> None:
    with clock.fixed(NOW) as advance:
        quiet(office)
        for _ in range(7):
            office.browser().authorize()
        assert count(office, "attempts") == 7
        advance(1800 + DAY - 1)
        assert run(office) == {}
        advance(1)
        assert run(office) == {"attempts": 7}
        assert run(office) == {}


def test_a_session_stays_a_month_after_its_end(office: Office) -> None:
    with clock.fixed(NOW) as advance:
        quiet(office)
        for _ in range(4):
            office.browser().sign_in()
        office.execute("UPDATE sessions SET ended_at = :now WHERE id = (SELECT min(id) FROM sessions)", now=NOW)
        advance(30 * DAY - 1)
        assert "sessions" not in run(office)
        advance(1)
        assert run(office)["sessions"] == 1
        advance(43200)
        assert run(office)["sessions"] == 3


def test_tokens_go_a_day_after_their_end_and_used_generations_stay_with_their_family(opened: Opens) -> None:
    office = opened(tokens={"refresh_seconds": 40 * DAY})
    with clock.fixed(NOW) as advance:
        quiet(office)
        made = office.tokens()
        first = made["refresh_token"]
        for _ in range(3):
            made = answered(office.refresh(made["refresh_token"]))
        advance(300 + DAY)
        assert run(office)["tokens"] == 4  # access tokens
        assert office.rows("SELECT kind, count(*) FROM tokens GROUP BY kind") == [("refresh", 4)]
        advance(10 * DAY)
        made = answered(office.refresh(made["refresh_token"]))
        advance(20 * DAY)
        run(office)
        assert office.rows("SELECT count(*) FROM tokens WHERE used_at IS NOT NULL")[0][0] == 4
        assert office.refresh(first).status_code == 400
        assert [e["cause"] for e in office.journal("grant.revoked")] == ["refresh_replayed"]
        advance(10 * DAY)
        assert run(office)["grants"] == 1
        assert (count(office, "grants"), count(office, "tokens")) == (0, 0)


def test_a_used_code_is_recognised_until_its_family_has_ended(office: Office) -> None:
    with clock.fixed(NOW) as advance:
        quiet(office)
        code = office.browser().sign_in().answer["code"]
        assert office.redeem(code).status_code == 200
        advance(80 * DAY)
        run(office)
        assert office.redeem(code).status_code == 400
        assert [e["cause"] for e in office.journal("grant.revoked")] == ["code_replayed"]


def test_a_family_without_lasting_access_goes_a_day_after_its_end(office: Office) -> None:
    with clock.fixed(NOW) as advance:
        quiet(office)
        office.tokens(scope="openid")
        advance(360 + DAY - 1)
        assert "grants" not in run(office)
        advance(1)
        assert run(office)["grants"] == 1


def test_links_go_a_week_after_they_were_used_or_ended(office: Office) -> None:
    with clock.fixed(NOW) as advance:
        quiet(office)
        browser = office.browser()
        browser.submit(browser.visit("/lost-password"), "lost-password-submit", email="alice@e1.example")
        browser.submit(browser.visit("/lost-password"), "lost-password-submit", email="bob@e1.example")
        page = browser.visit(office.link("alice@e1.example"))
        browser.submit(page, "new-password-submit", password="Tulle;Vigne42", confirmation="Tulle;Vigne42")
        advance(7 * DAY - 1)
        assert "links" not in run(office)
        advance(1)
        assert run(office)["links"] == 1
        advance(HOUR)
        assert run(office)["links"] == 1


def test_letters_go_a_month_after_they_left_or_were_given_up(office: Office) -> None:
    with clock.fixed(NOW) as advance:
        quiet(office)
        browser = office.browser()
        for name in ("alice", "bob", "bea"):
            browser.submit(browser.visit("/lost-password"), "lost-password-submit", email=f"{name}@e1.example")
        assert len(office.letters()) == 3
        given_up, waits = ({"id": name, "kind": "a", "recipient": "a@b.example", "created_at": NOW,
                            "next_try_at": at} for name, at in (("up", None), ("waits", NOW + 50 * DAY)))  # fmt: skip
        with office.inside() as on:
            on.execute(insert(Letter), [given_up, waits])
        advance(30 * DAY - 1)
        assert "letters" not in run(office)
        advance(1)
        assert run(office)["letters"] == 3
        advance(3 * DAY)
        assert run(office) == {"letters": 1}
        assert [row[0] for row in office.rows("SELECT id FROM letters")] == ["waits"]


def test_a_request_to_join_that_nobody_answered_is_marked(office: Office) -> None:
    with clock.fixed(NOW) as advance:
        quiet(office)
        dave, entity = office.id_of("dave"), office.rows("SELECT id FROM entities")[0][0]
        with office.inside() as on:
            on.execute(insert(JoinRequest), {"id": "r", "account_id": dave, "entity_id": entity, "state": "pending",
                                             "created_at": NOW, "expires_at": NOW + DAY})  # fmt: skip
        advance(DAY - 1)
        assert run(office) == {}
        advance(1)
        assert run(office) == {"join_requests": 1}
        assert office.rows("SELECT state, decided_at FROM join_requests") == [("expired", None)]


@pytest.mark.requirement("R20", "C1")
@pytest.mark.parametrize("days", [3, 15])
def test_an_account_that_nobody_activated_is_deleted_and_its_address_is_free(opened: Opens, days: int) -> None:
    office = opened(rules={"activation": {"deadline_days": days, "reminder_days": 0}})
    with clock.fixed(NOW) as advance:
        quiet(office)
        waiting = [invite(office, f"n{number}") for number in range(5)]
        advance(days * DAY - 1)
        assert run(office) == {}
        advance(1)
        assert run(office)["accounts"] == 5
        assert [state(office, one) for one in waiting] == [None] * 5
        told = office.journal("account.erased")
        assert sorted(e["account"] for e in told) == sorted(waiting)
        assert {e["cause"] for e in told} == {"activation_deadline"}
        assert invite(office, "n0") not in waiting


def test_a_second_letter_gives_the_whole_time_anew(opened: Opens) -> None:
    office = opened(rules={"activation": {"reminder_days": 0}})
    with clock.fixed(NOW) as advance:
        quiet(office)
        waiting = invite(office)
        advance(2 * DAY)
        with office.inside() as on:
            office.house.send_activation(on, accounts.by_id(on, waiting))
        advance(3 * DAY - 1)
        assert run(office) == {}
        advance(1)
        assert run(office)["accounts"] == 1


def test_an_office_may_keep_the_account_and_close_it(opened: Opens) -> None:
    office = opened(rules={"activation": {"on_expiry": "expire", "reminder_days": 0}})
    with clock.fixed(NOW) as advance:
        quiet(office)
        waiting = invite(office)
        path = office.link("nora@e1.example")
        advance(3 * DAY)
        assert run(office) == {"accounts": 1}
        assert state(office, waiting) == "disabled"
        assert [e["cause"] for e in office.journal("account.disabled")] == ["activation_deadline"]
        assert office.browser().get(path).status_code == 400
        assert run(office) == {}


def test_an_office_may_leave_the_account_as_it_is(opened: Opens) -> None:
    office = opened(rules={"activation": {"on_expiry": "keep", "reminder_days": 0}})
    with clock.fixed(NOW) as advance:
        quiet(office)
        waiting = invite(office)
        advance(400 * DAY)
        assert "accounts" not in run(office)
        assert state(office, waiting) == "pending"


def test_active_and_disabled_accounts_have_no_deadline(office: Office) -> None:
    with clock.fixed(clock.now()) as advance:
        quiet(office)
        before = count(office, "accounts")
        advance(400 * DAY)
        run(office)
        assert count(office, "accounts") == before


def test_the_only_manager_of_others_is_left_to_staff_and_stops_nothing(opened: Opens) -> None:
    office = opened(rules={"activation": {"reminder_days": 0}})
    with clock.fixed(NOW) as advance:
        quiet(office)
        ids = [invite(office, f"n{number}") for number in range(8)]
        chief = min(ids)
        alone = sorted(ids)[1]
        with office.inside() as on:
            entity = entities.add(on, "Cabinet", accounts.by_id(on, chief))
            entities.attach(on, entity, accounts.get(on, "dave@e1.example"), "collaborator")
            own = entities.add(on, "Solo", accounts.by_id(on, alone)).id
        advance(3 * DAY)
        assert run(office)["accounts"] == 7
        assert state(office, chief) == "pending"
        assert office.rows("SELECT closed_at FROM entities WHERE id = :id", id=own) == [(NOW + 3 * DAY,)]


@pytest.mark.requirement("C1")
def test_a_reminder_leaves_once_before_the_end_and_its_link_ends_with_the_first(opened: Opens) -> None:
    office = opened(rules={"activation": {"deadline_days": 90, "reminder_days": 60}})
    with clock.fixed(NOW) as advance:
        quiet(office)
        waiting = invite(office)
        first = office.link("nora@e1.example")
        advance(30 * DAY - 1)
        assert run(office) == {}
        advance(1)
        assert run(office)["reminders"] == 1
        letter = office.letters("nora@e1.example")[-1]
        assert letter["Subject"] == "Votre compte attend son activation"
        second = office.link("nora@e1.example")
        assert second != first
        assert second in words(letter)
        for _ in range(3):
            advance(19 * DAY)
            assert "reminders" not in run(office)
        advance(3 * DAY - 1)
        assert {office.browser().get(path).status_code for path in (first, second)} == {200}
        advance(1)
        assert {office.browser().get(path).status_code for path in (first, second)} == {400}
        assert run(office)["accounts"] == 1
        assert state(office, waiting) is None


def test_several_processes_at_once_do_everything_once(opened: Opens) -> None:
    office = opened(rules={"activation": {"deadline_days": 3, "reminder_days": 1}})
    with clock.fixed(NOW) as advance:
        quiet(office)
        old = [invite(office, f"old{number}") for number in range(6)]
        for _ in range(20):
            office.browser().authorize()
        advance(2 * DAY)
        nodes = [
            office,
            *(office.again(rules={"activation": {"deadline_days": 3, "reminder_days": 1}}) for _ in range(2)),
        ]
        with ThreadPoolExecutor(3) as pool:
            done = list(pool.map(lambda node: node.house.keeper.run(clock.now()), nodes))
        assert [sum(one[kind] for one in done) for kind in ("reminders", "attempts")] == [6, 20]
        assert office.rows("SELECT count(*) FROM letters WHERE kind = 'activation_reminder'") == [(6,)]
        advance(DAY)
        with ThreadPoolExecutor(3) as pool:
            done = list(pool.map(lambda node: node.house.keeper.run(clock.now()), nodes))
        assert sum(one["accounts"] for one in done) == 6
        assert sorted(e["account"] for e in office.journal("account.erased")) == sorted(old)


def test_a_sign_in_under_way_is_not_disturbed(office: Office) -> None:
    browser = office.browser()
    page = browser.authorize()
    run(office)
    assert browser.submit(page, "login-submit", email="alice@e1.example", password=PASSWORD).answer["code"]


def test_a_process_does_it_once_an_hour(office: Office) -> None:
    keeper, work = office.house.keeper, office.house.housekeeping()["purge"]
    with clock.fixed(NOW) as advance:
        quiet(office)
        keeper.hourly()
        with office.inside() as on:
            on.execute(
                insert(Attempt), {"id": "a", "browser_hash": "b", "proofs": [], "created_at": 1, "expires_at": 2}
            )
        advance(HOUR - 1)
        work()
        assert count(office, "attempts") == 1
        advance(1)
        work()
        assert count(office, "attempts") == 0


def test_an_hour_in_which_the_database_was_away_is_made_up_for(office: Office) -> None:
    with clock.fixed(NOW):
        quiet(office)
        with office.inside() as on:
            on.execute(
                insert(Attempt), {"id": "a", "browser_hash": "b", "proofs": [], "created_at": 1, "expires_at": 2}
            )
        office.writable(False)
        with pytest.raises(Unavailable):
            office.house.keeper.hourly()
        office.writable(True)
        office.house.keeper.hourly()
        assert count(office, "attempts") == 0


def test_challenges_of_cards_go_with_their_time(opened: Opens) -> None:
    office = opened(login={"methods": ["password", "smartcard"]})
    with clock.fixed(NOW):
        quiet(office)
        challenges: Any = [{"a": f"a{number}", "at": NOW + (number == 0)} for number in range(8)]
        for one in challenges:
            office.execute("INSERT INTO idp_smartcard_challenge VALUES (:a, 'login', 's', :at)", **one)
        assert run(office) == {"smartcard": 7}
        assert office.rows("SELECT attempt_id FROM idp_smartcard_challenge") == [("a0",)]


def test_the_journal_still_verifies_after_a_purge(office: Office) -> None:
    with clock.fixed(NOW) as advance:
        invite(office)
        office.house.journal.seal()
        advance(10 * DAY)
        run(office)
        office.house.journal.seal()
        assert office.house.journal.verify().ok
        with office.inside() as on:
            assert on.execute(select(Account.id).where(Account.state == "pending")).all() == []

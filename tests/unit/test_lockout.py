"""Counting wrong answers: exact under any number of parallel guesses, and no door opens when counting is impossible."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from services.databases import open_database
from services.guesser import KEY
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from idp import clock
from idp.db import Database
from idp.errors import Blocked, Throttled, Unavailable
from idp.journal import entries
from idp.login.lockout import ADDRESS_WINDOW, LOST_AFTER, Count, Lockout, Reservation
from idp.models import GuessCount
from idp.sealing import Mac

NOW = 1_700_000_000
HOME, AWAY = "192.0.2.1", "198.51.100.7"
Advance = Callable[[int], None]


@pytest.fixture
def advance() -> Iterator[Advance]:
    """The clock stands still and is moved by hand."""
    with clock.fixed(NOW) as move:
        yield move


@pytest.fixture
def lockout(database: Database) -> Lockout:
    return Lockout(database, Mac(KEY), 5, 20)


def wrong(lockout: Lockout, account: str | None = "bob", address: str = HOME, identifier: str | None = None) -> Count:
    """One wrong answer, from the reservation to the count."""
    taken = lockout.reserve(address, account, identifier)
    with lockout._database.begin() as c:
        return lockout.failed(c, taken)


def right(lockout: Lockout, account: str = "bob", address: str = HOME) -> None:
    """One right answer."""
    taken = lockout.reserve(address, account, None)
    with lockout._database.begin() as c:
        lockout.succeeded(c, taken)


def stored(lockout: Lockout, account: str = "bob") -> Count:
    with lockout._database.read() as c:
        return lockout.count(c, account)


def pending(lockout: Lockout) -> int:
    with lockout._database.read() as c:
        return sum(c.execute(select(GuessCount.__table__.c.pending)).scalars())


def events(lockout: Lockout) -> list[str]:
    with lockout._database.read() as c:
        return [str(e["event"]) for e in entries(c)]


def test_a_lower_maximum_blocks_whoever_has_reached_it_and_a_higher_one_frees_nobody(
    database: Database, lockout: Lockout, advance: Advance
) -> None:
    for _ in range(4):
        wrong(lockout)
    lower, higher = (Lockout(database, Mac(KEY), most, 20) for most in (3, 9))
    with pytest.raises(Blocked):
        wrong(lower)
    assert (stored(lower).blocked, stored(lockout).blocked) == (True, False)
    wrong(lockout)
    with pytest.raises(Blocked):
        wrong(higher)
    with database.begin() as c:
        lower.unblock(c, "bob", "command")
    assert wrong(lower) == Count(1, False)


@pytest.mark.requirement("C23")
def test_the_last_wrong_answer_blocks_and_the_right_one_is_then_refused(lockout: Lockout, advance: Advance) -> None:
    assert [wrong(lockout) for _ in range(4)] == [Count(n, False) for n in (1, 2, 3, 4)]
    assert wrong(lockout) == Count(5, True, newly_blocked=True)
    for _ in range(2):
        with pytest.raises(Blocked):
            right(lockout)
        advance(600)
    assert stored(lockout) == Count(5, True)
    assert events(lockout) == ["account.blocked"]


def test_a_success_puts_the_count_back_to_zero(lockout: Lockout) -> None:
    for _ in range(2):
        for _ in range(4):
            wrong(lockout)
        right(lockout)
    assert stored(lockout) == Count(0, False)


@pytest.mark.parametrize("maximum", [1, 2, 100])
def test_the_maximum_is_kept_exactly(maximum: int, database: Database) -> None:
    lockout = Lockout(database, Mac(KEY), maximum, 0)
    counts = [wrong(lockout) for _ in range(maximum)]
    assert [c.blocked for c in counts] == [False] * (maximum - 1) + [True]
    with pytest.raises(Blocked):
        wrong(lockout)


def test_one_account_has_one_count_whatever_the_address(database: Database) -> None:
    lockout = Lockout(database, Mac(KEY), 5, 0)
    for n in range(5):
        wrong(lockout, address=f"192.0.2.{n}")
    with pytest.raises(Blocked):
        wrong(lockout, address=AWAY)
    wrong(lockout, account="alice", address=AWAY)


def test_an_identifier_that_nobody_has_is_blocked_alike(lockout: Lockout) -> None:
    counts = [wrong(lockout, account=None, identifier="ghost@free.example") for _ in range(5)]
    assert counts == [Count(n, n == 5, n == 5) for n in range(1, 6)]
    with pytest.raises(Blocked) as refused:
        wrong(lockout, account=None, identifier="ghost@free.example")
    assert refused.value.account_id is None
    wrong(lockout, account=None, identifier="other@free.example")
    assert events(lockout) == []  # nobody was blocked


def test_an_account_and_an_identifier_of_the_same_text_are_counted_apart(lockout: Lockout) -> None:
    for _ in range(5):
        wrong(lockout, account=None, identifier="bob")
    assert stored(lockout, "bob") == Count(0, False)


def test_guesses_at_a_blocked_account_are_neither_checked_nor_counted(lockout: Lockout, advance: Advance) -> None:
    for _ in range(5):
        wrong(lockout)
    with lockout._database.read() as c:
        before = c.execute(select(GuessCount.__table__).order_by("key")).all()
    advance(60)
    for _ in range(50):
        with pytest.raises(Blocked):
            wrong(lockout)
    with lockout._database.read() as c:
        assert c.execute(select(GuessCount.__table__).order_by("key")).all() == before


def test_unblocking_clears_everything_and_is_journaled(lockout: Lockout) -> None:
    for _ in range(5):
        wrong(lockout)
    with lockout._database.begin() as c:
        lockout.unblock(c, "bob", "reset")
    assert stored(lockout) == Count(0, False)
    right(lockout)
    assert events(lockout) == ["account.blocked", "account.unblocked"]


def test_a_check_that_did_not_take_place_gives_its_place_back(lockout: Lockout) -> None:
    for _ in range(12):
        taken = lockout.reserve(HOME, "bob", None)
        with lockout._database.begin() as c:
            lockout.given_back(c, taken)
    assert stored(lockout) == Count(0, False)
    assert pending(lockout) == 0


def test_counting_works_in_the_session_of_a_page_too(lockout: Lockout) -> None:
    taken = [lockout.reserve(HOME, "bob", None) for _ in range(3)]
    with Session(lockout._database.engine) as session, session.begin():
        lockout.failed(session, taken[0])
        lockout.failed(session, taken[1])
        lockout.given_back(session, taken[2])
        assert lockout.count(session, "bob") == Count(2, False)
        lockout.unblock(session, "bob", "command")
    right(lockout)
    assert (stored(lockout), pending(lockout), events(lockout)) == (Count(0, False), 0, ["account.unblocked"])


def test_a_reservation_ends_once(lockout: Lockout) -> None:
    taken = lockout.reserve(HOME, "bob", None)
    for _ in range(3):
        with lockout._database.begin() as c:
            assert lockout.failed(c, taken) == Count(1, False)
    with lockout._database.begin() as c:
        lockout.given_back(c, taken)
    assert (stored(lockout), pending(lockout)) == (Count(1, False), 0)


def test_checks_in_progress_hold_the_last_places_and_nobody_is_told_blocked(lockout: Lockout) -> None:
    held = [lockout.reserve(HOME, "bob", None) for _ in range(5)]
    began = time.monotonic()
    with pytest.raises(Throttled) as refused:
        lockout.reserve(AWAY, "bob", None)
    assert (refused.value.cause, refused.value.retry_after) == ("busy", 1)
    assert 0.9 < time.monotonic() - began < 3
    with lockout._database.begin() as c:
        lockout.succeeded(c, held[0])
    lockout.reserve(AWAY, "bob", None)


def test_a_success_does_not_forget_the_checks_still_in_progress(lockout: Lockout) -> None:
    held = [lockout.reserve(HOME, "bob", None) for _ in range(5)]
    with lockout._database.begin() as c:
        lockout.succeeded(c, held[0])
    for taken in held[1:]:
        with lockout._database.begin() as c:
            lockout.failed(c, taken)
    assert stored(lockout) == Count(4, False)
    assert wrong(lockout) == Count(5, True, newly_blocked=True)


def test_a_success_that_ends_after_the_block_is_refused(lockout: Lockout) -> None:
    slow = lockout.reserve(HOME, "bob", None)
    for _ in range(4):
        wrong(lockout)
    lost = lockout.reserve(AWAY, "alice", None)
    with lockout._database.begin() as c:
        c.execute(
            text("UPDATE guess_counts SET failed = 5, blocked_at = 1 WHERE key = :key"), {"key": slow.account_key}
        )
    with pytest.raises(Blocked), lockout._database.begin() as c:
        lockout.succeeded(c, slow)
    with lockout._database.begin() as c:
        lockout.succeeded(c, lost)


@pytest.mark.parametrize("url", ["sqlite_url", "postgres_url"])
def test_twenty_right_answers_at_one_instant_all_succeed(url: str, request: pytest.FixtureRequest) -> None:
    database = open_database(request.getfixturevalue(url))
    lockout = Lockout(database, Mac(KEY), 5, 0)
    start = threading.Barrier(20)

    def sign_in(_: int) -> None:
        start.wait()
        end = time.monotonic() + 10
        while True:
            try:
                taken = lockout.reserve(HOME, "bob", None)
                break
            except Throttled as refusal:
                if refusal.cause != "busy" or time.monotonic() > end:
                    raise
        time.sleep(0.02)
        with database.begin() as c:
            lockout.succeeded(c, taken)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(sign_in, range(20)))
    assert (stored(lockout), pending(lockout)) == (Count(0, False), 0)
    database.engine.dispose()


def test_a_failure_and_a_success_at_one_instant_do_not_wait_for_one_another(postgres_url: str) -> None:
    database = open_database(postgres_url)
    lockout = Lockout(database, Mac(KEY), 5, 20)
    one, other = lockout.reserve(HOME, "bob", None), lockout.reserve(HOME, "bob", None)

    def succeed() -> None:
        with database.begin() as c:
            lockout.succeeded(c, other)

    with ThreadPoolExecutor(1) as pool:
        with database.begin() as c:
            c.execute(text("SELECT 1 FROM guess_counts WHERE key = :key FOR UPDATE"), {"key": one.address_key})
            waiting = pool.submit(succeed)
            time.sleep(0.3)
            lockout.failed(c, one)  # takes the account's row second, as `succeeded` must
        waiting.result(5)
    assert pending(lockout) == 0
    database.engine.dispose()


def test_attempts_that_were_lost_count_as_failed(lockout: Lockout, advance: Advance) -> None:
    lost = [lockout.reserve(HOME, "bob", None) for _ in range(3)]
    advance(LOST_AFTER)
    assert lockout.sweep() == 0
    advance(1)
    young = lockout.reserve(HOME, "bob", None)
    assert lockout.sweep() == 3
    assert lockout.sweep() == 0
    assert stored(lockout) == Count(3, False)
    with lockout._database.begin() as c:  # a worker that was only slow comes back: nothing is counted twice
        assert lockout.failed(c, lost[0]) == Count(3, False)
        lockout.given_back(c, lost[1])
    with lockout._database.begin() as c:
        lockout.failed(c, young)
    assert (stored(lockout), pending(lockout)) == (Count(4, False), 0)


def test_attempts_that_were_lost_block_like_wrong_answers(lockout: Lockout, advance: Advance) -> None:
    for _ in range(5):
        lockout.reserve(HOME, "bob", None)
    advance(LOST_AFTER + 1)
    assert lockout.sweep() == 5
    assert stored(lockout) == Count(5, True)
    with pytest.raises(Blocked):
        lockout.reserve(AWAY, "bob", None)


def test_a_late_success_after_the_sweep_starts_the_count_anew(lockout: Lockout, advance: Advance) -> None:
    slow = lockout.reserve(HOME, "bob", None)
    advance(LOST_AFTER + 1)
    lockout.sweep()
    with lockout._database.begin() as c:
        lockout.succeeded(c, slow)
    assert (stored(lockout), pending(lockout)) == (Count(0, False), 0)


def test_one_address_with_many_accounts_is_throttled_and_no_account_is_blocked(
    lockout: Lockout, advance: Advance
) -> None:
    for n in range(20):
        wrong(lockout, account=f"account-{n}")
    for n in range(20, 200):
        with pytest.raises(Throttled) as refused:
            wrong(lockout, account=f"account-{n}")
        assert (refused.value.cause, refused.value.retry_after) == ("throttled", ADDRESS_WINDOW)
    assert events(lockout) == []
    wrong(lockout, account="bob", address=AWAY)
    advance(ADDRESS_WINDOW - 1)
    with pytest.raises(Throttled) as refused:
        wrong(lockout, account="late")
    assert refused.value.retry_after == 1
    advance(1)
    wrong(lockout, account="late")


def test_right_answers_fill_no_address(lockout: Lockout) -> None:
    for n in range(60):
        right(lockout, account=f"account-{n}")


def test_without_an_account_only_the_address_is_counted(lockout: Lockout) -> None:
    for _ in range(20):
        assert wrong(lockout, account=None) == Count(0, False)
    with pytest.raises(Throttled):
        wrong(lockout, account=None)


def test_zero_switches_the_limit_of_addresses_off(database: Database) -> None:
    lockout = Lockout(database, Mac(KEY), 5, 0)
    for n in range(50):
        wrong(lockout, account=f"account-{n}")


def test_a_whole_network_is_one_address_and_mapped_ipv4_is_ipv4(lockout: Lockout) -> None:
    key = lockout.address_key
    assert key("::ffff:192.0.2.1") == key("192.0.2.1") != key("192.0.2.2")
    assert key("2001:db8::1") == key("2001:db8::ffff:ffff:ffff:ffff") == key("2001:DB8:0:0:1::")
    assert key("2001:db8::1") != key("2001:db8:0:1::1")
    assert key("fe80::1%eth0") == key("fe80::2%eth0")
    for n in range(20):
        wrong(lockout, account=f"account-{n}", address=f"2001:db8::{n + 1:x}")
    with pytest.raises(Throttled):
        wrong(lockout, account="other", address="2001:db8::face")


def test_counting_goes_on_after_2038(lockout: Lockout) -> None:
    with clock.fixed(4_102_444_800) as advance:
        for n in range(20):
            wrong(lockout, account=f"account-{n}")
        advance(ADDRESS_WINDOW)
        wrong(lockout)
        assert lockout.sweep() == 0


def test_keys_do_not_show_who_is_counted(lockout: Lockout) -> None:
    wrong(lockout, account="bob")
    wrong(lockout, account=None, identifier="ghost@free.example")
    with lockout._database.read() as c:
        kept = str(c.execute(text("SELECT key FROM guess_counts")).all())
        kept += str(c.execute(text("SELECT * FROM guesses")).all())
    assert not any(word in kept for word in ("bob", "ghost", "192.0.2"))


def test_when_nothing_can_be_counted_nothing_may_be_checked(lockout: Lockout, database: Database) -> None:
    read_only = database.engine.dialect.name == "postgresql"
    held: list[Reservation] = [lockout.reserve(HOME, "bob", None)]
    with database.begin() as c:  # the pool hands out this one connection again
        switch = "SET SESSION CHARACTERISTICS AS TRANSACTION READ {}" if read_only else "PRAGMA query_only = {}"
        c.exec_driver_sql(switch.format("ONLY" if read_only else "ON"))
    with pytest.raises(Unavailable):
        lockout.reserve(HOME, "bob", None)
    with pytest.raises(Unavailable), database.begin() as c:
        lockout.succeeded(c, held[0])
    with database.begin() as c:
        c.exec_driver_sql(switch.format("WRITE" if read_only else "OFF"))
    with database.begin() as c:
        lockout.succeeded(c, held[0])
    right(lockout)
    assert (stored(lockout), pending(lockout)) == (Count(0, False), 0)

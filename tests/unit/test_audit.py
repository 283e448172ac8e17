"""The journal: every event as one safe line, and a chain in which a change, a gap and a cut end show."""

import json
import threading
from pathlib import Path

import pytest
from services.databases import open_database
from sqlalchemy import text

from idp import clock
from idp.audit import LoginRefused, LoginSucceeded, RequestRefused, plain, record
from idp.db import Database
from idp.journal import Journal, Verdict, entries
from idp.sealing import Mac

KEY = Mac(b"k" * 32)


@pytest.fixture
def journal(database: Database, tmp_path: Path) -> Journal:
    return Journal(database, KEY, tmp_path / "outside" / "journal.head")


@pytest.fixture
def head_file(tmp_path: Path) -> Path:
    return tmp_path / "outside" / "journal.head"


def write(database: Database, count: int = 1) -> None:
    with database.begin() as c:
        for n in range(count):
            record(c, LoginRefused(method="password", account=f"account-{n}", cause="wrong_password"))


def change(database: Database, statement: str) -> None:
    with database.begin() as c:
        assert c.execute(text(statement)).rowcount != 0


def test_an_empty_journal_is_whole(journal: Journal) -> None:
    assert journal.seal() == 0
    assert journal.verify() == Verdict(True, 0)


def test_what_was_sealed_verifies(journal: Journal, database: Database, head_file: Path) -> None:
    write(database, 3)
    assert journal.verify() == Verdict(True, 0)  # written, not sealed yet
    assert journal.seal() == 3
    write(database, 2)
    assert journal.seal() == 2
    assert journal.seal() == 0
    assert journal.verify() == Verdict(True, 5)
    assert head_file.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in head_file.parent.iterdir()] == ["journal.head"]


@pytest.mark.parametrize("column", ["at", "event", "account", "client", "address", "cause", "details"])
def test_a_changed_entry_shows_at_its_place(column: str, journal: Journal, database: Database) -> None:
    write(database, 5)
    journal.seal()
    value = "1" if column == "at" else "'{}'"
    change(database, f"UPDATE journal SET {column} = {value} WHERE account = 'account-2'")
    verdict = journal.verify()
    assert (verdict.ok, verdict.first_broken, verdict.reason) == (False, 3, "an entry was changed")


def test_a_missing_value_made_an_empty_one_shows(journal: Journal, database: Database) -> None:
    write(database)
    journal.seal()
    change(database, "UPDATE journal SET client = ''")
    assert not journal.verify().ok


def test_a_removed_entry_shows(journal: Journal, database: Database) -> None:
    write(database, 5)
    journal.seal()
    change(database, "DELETE FROM journal WHERE account = 'account-1'")
    verdict = journal.verify()
    assert (verdict.ok, verdict.first_broken, verdict.reason) == (False, 2, "an entry was removed")


def test_an_entry_removed_with_its_seal_shows(journal: Journal, database: Database) -> None:
    write(database, 5)
    journal.seal()
    change(database, "DELETE FROM journal_seals WHERE seq = 2")
    change(database, "DELETE FROM journal WHERE account = 'account-1'")
    assert journal.verify() == Verdict(False, 4, 2, "a seal is missing")


def test_entries_that_changed_places_show(journal: Journal, database: Database) -> None:
    write(database, 3)
    journal.seal()
    change(database, "UPDATE journal SET id = 1000 WHERE account = 'account-0'")
    change(
        database,
        "UPDATE journal SET id = (SELECT entry_id FROM journal_seals WHERE seq = 1) WHERE account = 'account-1'",
    )
    change(database, "UPDATE journal SET id = (SELECT entry_id FROM journal_seals WHERE seq = 2) WHERE id = 1000")
    verdict = journal.verify()
    assert (verdict.ok, verdict.first_broken) == (False, 1)


def test_a_cut_end_shows_even_when_its_seals_are_cut_too(journal: Journal, database: Database) -> None:
    write(database, 5)
    journal.seal()
    change(database, "DELETE FROM journal_seals WHERE seq > 3")
    change(database, "DELETE FROM journal WHERE account IN ('account-3', 'account-4')")
    assert journal.verify() == Verdict(False, 3, 4, "the end of the journal was cut off")


def test_an_emptied_journal_shows(journal: Journal, database: Database) -> None:
    write(database, 5)
    journal.seal()
    change(database, "DELETE FROM journal_seals")
    change(database, "DELETE FROM journal")
    assert journal.verify() == Verdict(False, 0, 1, "the end of the journal was cut off")


def test_a_cut_end_cannot_be_covered_up_by_sealing_anew(journal: Journal, database: Database) -> None:
    write(database, 5)
    journal.seal()
    change(database, "DELETE FROM journal_seals WHERE seq > 3")
    change(database, "DELETE FROM journal WHERE account IN ('account-3', 'account-4')")
    write(database, 4)
    assert journal.seal() == 0
    assert journal.verify() == Verdict(False, 3, 4, "the end of the journal was cut off")


def test_removed_seals_cannot_be_made_anew_over_changed_entries(journal: Journal, database: Database) -> None:
    write(database, 3)
    journal.seal()
    change(database, "DELETE FROM journal_seals")
    change(database, "UPDATE journal SET cause = 'none' WHERE account = 'account-1'")
    assert journal.seal() == 0
    assert not journal.verify().ok


def test_a_chain_made_by_a_stranger_with_another_key_shows(
    journal: Journal, database: Database, tmp_path: Path
) -> None:
    write(database, 3)
    Journal(database, Mac(b"x" * 32), tmp_path / "other.head").seal()
    verdict = journal.verify()
    assert (verdict.ok, verdict.first_broken) == (False, 1)


def test_a_chain_replaced_by_another_true_one_shows(journal: Journal, database: Database, tmp_path: Path) -> None:
    write(database, 3)
    journal.seal()
    change(database, "DELETE FROM journal_seals")
    change(database, "DELETE FROM journal WHERE account = 'account-1'")
    Journal(database, KEY, tmp_path / "other.head").seal()  # somebody who holds the key, not the head file
    write(database, 1)
    Journal(database, KEY, tmp_path / "other.head").seal()
    verdict = journal.verify()
    assert (verdict.ok, verdict.reason) == (False, "the chain is not the one that the head file knows")


def test_a_lost_head_file_is_said(journal: Journal, database: Database, head_file: Path) -> None:
    write(database)
    journal.seal()
    head_file.unlink()
    verdict = journal.verify()
    assert not verdict.ok
    assert "head file" in str(verdict.reason)
    journal.seal()
    assert journal.verify().ok


@pytest.mark.parametrize("content", ["", "\n", "seven abc\n", "\x00\xff"])
def test_a_damaged_head_file_is_a_finding_and_no_crash(
    content: str, journal: Journal, database: Database, head_file: Path
) -> None:
    write(database)
    journal.seal()
    head_file.write_text(content, "latin-1")
    assert "is damaged" in str(journal.verify().reason)
    write(database)
    assert journal.seal() == 0
    assert not journal.verify().ok


def test_a_sealer_that_died_before_writing_the_head_is_caught_up(
    journal: Journal, database: Database, head_file: Path
) -> None:
    write(database, 2)
    journal.seal()
    old = head_file.read_text()
    write(database, 2)
    journal.seal()
    head_file.write_text(old)
    assert journal.verify().ok
    journal.seal()
    assert head_file.read_text().startswith("4 ")


def test_sealers_and_writers_at_once_make_one_chain(database: Database, head_file: Path) -> None:
    def writer() -> None:
        for _ in range(20):
            write(database, 2)

    def sealer() -> None:
        mine = Journal(database, KEY, head_file)
        while not done.is_set():
            mine.seal()

    done = threading.Event()
    writers = [threading.Thread(target=writer) for _ in range(3)]
    sealers = [threading.Thread(target=sealer) for _ in range(3)]
    for thread in (*writers, *sealers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in sealers:
        thread.join()
    journal = Journal(database, KEY, head_file)
    journal.seal()
    assert journal.verify() == Verdict(True, 120)


def test_an_entry_that_commits_late_is_sealed_later_and_never_lost(postgres_url: str, head_file: Path) -> None:
    database = open_database(postgres_url)  # on SQLite one writer waits for the other: nothing can commit late
    journal = Journal(database, KEY, head_file)
    with database.begin() as late:
        record(late, LoginSucceeded(method="password", session="s", account="late"))
        write(database, 2)
        assert journal.seal() == 2
    assert journal.seal() == 1
    assert journal.verify() == Verdict(True, 3)
    database.engine.dispose()


def test_an_event_leaves_with_its_cause_when_that_is_rolled_back(journal: Journal, database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.begin() as c:
        record(c, LoginSucceeded(method="password", session="s", account="a"))
        _ = 1 / 0
    assert journal.seal() == 0


HOSTILE = 'bob@e1.example\r\n2026-01-01 login.succeeded alice\u2028\u0085\x1b[2J\x00\u202e\ud800"}'


def test_text_from_outside_is_one_safe_line(database: Database, journal: Journal) -> None:
    with database.begin() as c:
        record(c, RequestRefused(path=HOSTILE, client=HOSTILE, address=HOSTILE, cause=HOSTILE))
    journal.seal()
    with database.read() as c:
        [entry] = entries(c)
    for field in ("path", "client", "address", "cause"):
        assert str(entry[field]).isprintable()
        assert str(entry[field]).startswith("bob@e1.example\\u000d\\u000a2026")
    assert json.loads(json.dumps(entry)) == entry
    assert journal.verify().ok


def test_long_text_is_cut() -> None:
    assert plain(None) is None
    assert plain("é" * 65536) == "é" * 200
    assert len(plain("\x00" * 65536) or "") == 200


def test_entries_are_told_oldest_first_and_the_last_ones_when_limited(database: Database, journal: Journal) -> None:
    with clock.fixed(1_700_000_000):
        write(database, 4)
    journal.seal()
    write(database, 1)
    with database.read() as c:
        told, last = list(entries(c)), list(entries(c, limit=2))
    assert [e["seq"] for e in told] == [1, 2, 3, 4, None]
    assert told[0] == {
        "seq": 1,
        "at": "2023-11-14T22:13:20Z",
        "event": "login.refused",
        "account": "account-0",
        "client": None,
        "address": None,
        "cause": "wrong_password",
        "method": "password",
    }
    assert last == told[-2:]

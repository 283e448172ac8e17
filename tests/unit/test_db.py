"""What SQLite and PostgreSQL do differently is decided in one place, and behaves alike above it."""

import stat
import threading
from pathlib import Path

import pysqlite3
import pytest
from services.databases import open_database
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError

from idp.db import WAL_SAFE, Database, insert, listen, options, prepare
from idp.errors import Misconfigured, Unavailable
from idp.models import Version

FAR = 4_102_444_800_000  # beyond 32 bits: the instant 2038 in milliseconds and more


def test_sqlite_is_a_version_whose_write_ahead_log_is_sound() -> None:
    assert pysqlite3.dbapi2.sqlite_version_info >= WAL_SAFE


@pytest.mark.parametrize(("synchronous", "level"), [("full", 2), ("normal", 1)])
def test_sqlite_runs_with_foreign_keys_a_write_ahead_log_and_the_chosen_durability(
    synchronous: str, level: int, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'idp.db'}"
    prepare(url)
    engine = create_engine(url, **options(url))
    listen(engine, synchronous)
    with engine.connect() as c:
        found = [c.exec_driver_sql(f"PRAGMA {p}").scalar_one() for p in ("foreign_keys", "journal_mode", "synchronous")]
    engine.dispose()
    assert found == [1, "wal", level]


def test_an_embedded_database_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "var" / "idp.db"
    opened = open_database(f"sqlite:///{path}")
    with opened.begin() as c:
        c.exec_driver_sql("CREATE TABLE t (x)")
        assert {stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()} == {0o600}
    opened.engine.dispose()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("url", ["mysql://x@y/z", "mssql://x/y", "oracle://x/y"])
def test_another_engine_is_refused_by_name(url: str) -> None:
    with pytest.raises(Misconfigured, match="is not supported; use sqlite:/// or postgresql://"):
        options(url)


def test_postgresql_waits_for_nothing_without_end(postgres_url: str) -> None:
    opened = open_database(postgres_url)
    with opened.read() as c:
        shown = {name: c.execute(text(f"SHOW {name}")).scalar_one() for name in ("statement_timeout", "lock_timeout")}
        assert c.execute(text("SHOW timezone")).scalar_one() == "UTC"
    opened.engine.dispose()
    assert "0" not in shown.values()


def test_an_instant_beyond_2038_fits(database: Database) -> None:
    with database.begin() as c:
        c.execute(insert(c.dialect, Version).values(name="far", number=FAR))
    with database.read() as c:
        assert c.execute(text("SELECT number FROM versions WHERE name = 'far'")).scalar_one() == FAR


def test_a_block_that_raises_leaves_nothing_behind(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.begin() as c:
        c.execute(insert(c.dialect, Version).values(name="half", number=1))
        _ = 1 / 0
    with database.read() as c:
        assert c.execute(text("SELECT count(*) FROM versions")).scalar_one() == 0


def test_a_conflict_is_no_outage(database: Database) -> None:
    for _ in range(2):
        with database.begin() as c:
            c.execute(insert(c.dialect, Version).values(name="v", number=1).on_conflict_do_nothing())
    with pytest.raises(IntegrityError), database.begin() as c:
        c.execute(insert(c.dialect, Version).values(name="v", number=1))


def test_a_foreign_key_is_kept(database: Database) -> None:
    with pytest.raises(IntegrityError), database.begin() as c:
        c.execute(text("INSERT INTO consents (account_id, client_id, scopes, given_at) VALUES ('x', 'y', '[]', 0)"))


def test_a_word_outside_its_list_is_refused_by_the_database(database: Database) -> None:
    with pytest.raises(IntegrityError), database.begin() as c:
        c.execute(
            text(
                "INSERT INTO accounts (id, email, email_key, given_name, family_name, state, created_at, updated_at)"
                " VALUES ('x', 'x', 'x', 'x', 'x', 'asleep', 0, 0)"
            )
        )


def test_two_writers_on_one_counter_lose_no_step(database: Database) -> None:
    with database.begin() as c:
        c.execute(insert(c.dialect, Version).values(name="v", number=0))

    def count() -> None:
        for _ in range(25):
            with database.begin() as c:
                c.execute(text("UPDATE versions SET number = number + 1 WHERE name = 'v'"))

    threads = [threading.Thread(target=count) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as c:
        assert c.execute(text("SELECT number FROM versions")).scalar_one() == 150


def test_a_database_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "idp.db").mkdir()
    url = f"sqlite:///{tmp_path / 'idp.db'}"
    for address in (url, "postgresql://postgres@127.0.0.1:9/idp"):
        opened = Database(create_engine(address, **options(address)))
        with pytest.raises(Unavailable), opened.begin() as c:
            c.execute(text("SELECT 1"))
        with pytest.raises(Unavailable), opened.read() as c:
            c.execute(text("SELECT 1"))


def test_a_full_disk_is_unavailable_and_nothing_is_half_done(sqlite_url: str) -> None:
    opened = open_database(sqlite_url)
    with opened.engine.connect() as c:
        pages = c.exec_driver_sql("PRAGMA page_count").scalar_one()
        c.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        c.commit()
    with pytest.raises(Unavailable), opened.begin() as c:  # the pool hands out the same connection
        for n in range(2000):
            c.execute(insert(c.dialect, Version).values(name=f"v{n}", number=n))
    with opened.read() as c:
        assert c.execute(text("SELECT count(*) FROM versions")).scalar_one() == 0
    opened.engine.dispose()


def test_a_database_that_may_not_be_written_is_unavailable_and_recovers(postgres_url: str) -> None:
    opened = open_database(postgres_url)
    write = insert("postgresql", Version).values(name="v", number=1)
    with opened.begin() as c:
        c.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"))
    with pytest.raises(Unavailable), opened.begin() as c:  # the pool hands out the same connection
        c.execute(write)
    with opened.begin() as c:
        c.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"))
    with opened.begin() as c:
        c.execute(write)
    opened.engine.dispose()


def test_a_pool_without_a_free_connection_is_unavailable(database_url: str) -> None:
    engine = create_engine(database_url, pool_size=1, max_overflow=0, pool_timeout=0.1, **options(database_url))
    opened = Database(engine)
    with opened.read(), pytest.raises(Unavailable), opened.begin():
        pass
    with opened.begin() as c:
        assert c.execute(text("SELECT 1")).scalar_one() == 1
    engine.dispose()


def test_a_lost_connection_is_replaced_by_itself(postgres_url: str) -> None:
    opened, other = open_database(postgres_url), open_database(postgres_url)
    with opened.read() as c:
        process = c.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with other.begin() as c:
        c.execute(text("SELECT pg_terminate_backend(:process)"), {"process": process})
    with opened.begin() as c:
        assert c.execute(text("SELECT 1")).scalar_one() == 1
    opened.engine.dispose()
    other.engine.dispose()


def test_a_writer_that_holds_its_lock_too_long_makes_the_other_unavailable(database: Database) -> None:
    with database.begin() as c:
        c.execute(insert(c.dialect, Version).values(name="v", number=0))
    change = text("UPDATE versions SET number = number + 1")
    with database.begin() as held:
        held.execute(change)
        with pytest.raises(Unavailable), database.begin() as c:
            if c.dialect.name == "postgresql":
                c.execute(text("SET LOCAL lock_timeout = 200"))
            else:
                c.exec_driver_sql("PRAGMA busy_timeout = 200")
            c.execute(change)
    with database.begin() as c:
        c.execute(change)
    with database.read() as c:
        assert c.execute(text("SELECT number FROM versions")).scalar_one() == 2


def test_a_savepoint_that_is_released_can_still_be_taken_back(database: Database) -> None:
    with pytest.raises(RuntimeError), database.begin() as c:
        with c.begin_nested():
            c.execute(insert(c.dialect, Version).values(name="inner", number=1))
        raise RuntimeError
    with database.read() as c:
        assert c.execute(text("SELECT count(*) FROM versions")).scalar_one() == 0

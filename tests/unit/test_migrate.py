"""Migrations: from nothing to today's tables on both databases, each owner by itself, safe to call at any time."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from services.databases import open_database
from sqlalchemy import inspect, text

from idp.db import Base, Database
from idp.errors import Misconfigured
from idp.login.registry import installed, load, owners
from idp.migrate import CORE, Owner, current, difference, require_newest, upgrade

METHODS = tuple(sorted(installed()))
SCRIPT = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = {revision!r}, {before!r}
branch_labels = depends_on = None


def upgrade():
    op.create_table({table!r}, sa.Column("id", sa.Integer(), primary_key=True))
    {last}
"""


@pytest.fixture
def empty(empty_url: str) -> Iterator[Database]:
    """A database without tables; runs the test once on each engine."""
    database = open_database(empty_url)
    yield database
    database.engine.dispose()


@pytest.fixture
def everybody() -> list[Owner]:
    """The house and every plugin that keeps tables."""
    return [CORE, *owners(load(METHODS))]


@pytest.fixture
def toy(tmp_path: Path) -> Owner:
    """A made-up plugin with one migration, which makes `idp_toy_one`."""
    owner = Owner("toy", tmp_path / "toy", "idp_toy_")
    add(owner, "0001", None, "idp_toy_one")
    return owner


def add(owner: Owner, revision: str, before: str | None, table: str, last: str = "") -> None:
    folder = owner.folder / "versions"
    folder.mkdir(parents=True, exist_ok=True)
    script = SCRIPT.format(revision=revision, before=before, table=table, last=last)
    (folder / f"{revision}_{table}.py").write_text(script)


def tables(database: Database) -> set[str]:
    return set(inspect(database.engine).get_table_names())


def to_do(script: str) -> list[str]:
    return [line.strip() for line in script.splitlines() if not line.strip().startswith("#")]


def checks(database: Database) -> set[tuple[str, str, str]]:
    found = inspect(database.engine).get_multi_check_constraints()
    return {(str(table[1]), str(c["name"]), c["sqltext"]) for table, rows in found.items() for c in rows}


def test_an_upgrade_from_nothing_makes_exactly_the_tables_of_the_models(
    empty: Database, everybody: list[Owner]
) -> None:
    upgrade(empty, everybody)
    with empty.begin() as c:
        assert {owner.name: to_do(difference(c, owner)) for owner in everybody} == {o.name: ["pass"] for o in everybody}
    assert tables(empty) == {*Base.metadata.tables, *(owner.version_table for owner in everybody)}


def test_an_upgrade_makes_the_same_checks_as_the_models(empty: Database, everybody: list[Owner]) -> None:
    upgrade(empty, everybody)
    made = checks(empty)
    with empty.begin() as c:
        c.execute(text("DROP TABLE idp_version"))
        Base.metadata.drop_all(c)
        Base.metadata.create_all(c)
    assert made == checks(empty) != set()


def test_a_table_or_column_without_a_migration_would_show(empty: Database, everybody: list[Owner]) -> None:
    upgrade(empty, everybody)
    with empty.begin() as c:
        c.execute(text("ALTER TABLE accounts ADD COLUMN shoe_size INTEGER"))
        c.execute(text("DROP TABLE idp_password_former"))
        assert "shoe_size" in difference(c, everybody[0])
        assert "idp_password_former" not in difference(c, everybody[0])
        assert "idp_password_former" in difference(c, everybody[1])


def test_a_second_upgrade_changes_nothing_and_keeps_the_data(empty: Database, everybody: list[Owner]) -> None:
    done = upgrade(empty, everybody)
    with empty.begin() as c:
        c.execute(text("INSERT INTO versions (name, number) VALUES ('clients', 7)"))
    assert upgrade(empty, everybody) == done == current(empty, everybody)
    require_newest(empty, everybody)
    with empty.read() as c:
        assert c.execute(text("SELECT number FROM versions")).scalar_one() == 7


def test_processes_that_upgrade_at_once_agree(empty: Database, everybody: list[Owner]) -> None:
    start = threading.Barrier(6)

    def one(_: int) -> dict[str, str]:
        start.wait()
        return upgrade(empty, everybody)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(one, range(6)))
    assert all(answer == answers[0] for answer in answers)
    assert current(empty, everybody) == answers[0]


def test_removing_a_plugin_breaks_no_upgrade_and_its_tables_wait_for_it(
    empty: Database, everybody: list[Owner]
) -> None:
    upgrade(empty, everybody)
    kept = tables(empty)
    for without in ([CORE], everybody[:-1], [CORE, everybody[-1]]):
        upgrade(empty, without)
        require_newest(empty, without)
    with empty.begin() as c:
        assert "drop" not in difference(c, CORE)
    assert tables(empty) == kept
    upgrade(empty, everybody)


def test_a_plugin_that_comes_later_is_upgraded_by_itself(empty: Database, everybody: list[Owner], toy: Owner) -> None:
    upgrade(empty, everybody)
    assert current(empty, [toy]) == {"toy": None}
    assert upgrade(empty, [*everybody, toy])["toy"] == "0001"
    add(toy, "0002", "0001", "idp_toy_two")
    with pytest.raises(Misconfigured, match="the tables of toy are not up to date; run: idp migrate"):
        require_newest(empty, [*everybody, toy])
    assert upgrade(empty, [toy]) == {"toy": "0002"}
    assert {"idp_toy_one", "idp_toy_two", "idp_toy_version"} <= tables(empty)


def test_an_empty_database_is_told_to_be_migrated(empty: Database, everybody: list[Owner]) -> None:
    with pytest.raises(Misconfigured, match="the tables of core are not up to date; run: idp migrate"):
        require_newest(empty, everybody)
    assert tables(empty) == set()


def test_a_migration_that_fails_leaves_nothing_behind(empty: Database, toy: Owner) -> None:
    add(toy, "0002", "0001", "idp_toy_two", last="raise ZeroDivisionError")
    with pytest.raises(ZeroDivisionError):
        upgrade(empty, [toy])
    assert tables(empty) == set()
    add(toy, "0002", "0001", "idp_toy_two")
    upgrade(empty, [toy])
    assert tables(empty) == {"idp_toy_one", "idp_toy_two", "idp_toy_version"}


def test_tables_that_are_newer_than_the_program_are_refused_and_left_alone(empty: Database, toy: Owner) -> None:
    add(toy, "0002", "0001", "idp_toy_two")
    upgrade(empty, [toy])
    newest = next(toy.folder.glob("versions/0002_*.py"))
    newest.unlink()
    with pytest.raises(Misconfigured, match="toy"):
        require_newest(empty, [toy])
    with pytest.raises(Misconfigured, match=r"toy.*newer"):
        upgrade(empty, [toy])
    assert current(empty, [toy]) == {"toy": "0002"}


def test_an_owner_knows_its_tables_by_their_names() -> None:
    password, card = Owner("password", Path("x"), "idp_password_"), Owner("card", Path("x"), "idp_card_")
    names = ("accounts", "idp_password_hash", "idp_card_card", "idp_version")
    assert [n for n in names if CORE.owns(n)] == ["accounts"]
    assert [n for n in names if password.owns(n)] == ["idp_password_hash"]
    assert [n for n in names if card.owns(n)] == ["idp_card_card"]

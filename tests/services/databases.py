"""Databases for tests: SQLite and PostgreSQL, empty or with every table of the house and of the installed plugins.

`database` and `database_url` run a test once on each engine; `sqlite_url` is for tests in which the engine decides
nothing. A database with tables is a copy of a template made once for each process.
"""

import importlib
import shutil
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from sqlalchemy import create_engine

import idp.models  # registers the tables of the house
from idp.db import Base, Database, listen, options, prepare

ENGINES = ("sqlite", "postgresql")


def open_database(url: str) -> Database:
    """A database as the provider opens it. The caller disposes of its engine."""
    prepare(url)
    engine = create_engine(url, **options(url))
    listen(engine, "full")
    return Database(engine)


def make_tables(url: str) -> None:
    """Create every table at once, without migrations."""
    assert idp.models.Account.__table__ in Base.metadata.tables.values()
    for entry_point in entry_points(group="idp.login_methods"):
        importlib.import_module(entry_point.module)
    database = open_database(url)
    with database.begin() as c:
        Base.metadata.create_all(c)
    database.engine.dispose()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with every table, to be copied."""
    path = tmp_path_factory.mktemp("template") / "idp.db"
    make_tables(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(request: pytest.FixtureRequest) -> str:
    """The name of a PostgreSQL database with every table, to be copied."""
    cluster = request.getfixturevalue("postgres")
    name: str = cluster.create()
    make_tables(cluster.url(name))
    return name


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The address of a SQLite database with every table, of this test alone."""
    path = tmp_path / "idp.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a PostgreSQL database with every table, of this test alone."""
    cluster = request.getfixturevalue("postgres")
    name = cluster.create(request.getfixturevalue("postgres_template"))
    yield cluster.url(name)
    cluster.drop(name)


@pytest.fixture(params=ENGINES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database without tables; runs the test once on each engine."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    cluster = request.getfixturevalue("postgres")
    name = cluster.create()
    yield cluster.url(name)
    cluster.drop(name)


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest) -> str:
    """The address of a database with every table; runs the test once on each engine."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An open database with every table; runs the test once on each engine."""
    opened = open_database(database_url)
    yield opened
    opened.engine.dispose()

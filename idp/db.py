"""The database: the declarative base, the session, and everything in which SQLite and PostgreSQL differ.

Pages and commands use the ORM through `db.session`, whose life Flask-SQLAlchemy keeps. Protocol endpoints and exact
counters use short Core transactions of `Database.begin()`. Instants are Unix seconds in `Instant` columns.
"""

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pysqlite3
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import URL, BigInteger, Connection, Dialect, Engine, Integer, MetaData, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, InternalError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Session, scoped_session
from sqlalchemy.pool import ConnectionPoolEntry

from idp.errors import Misconfigured, Unavailable

log = logging.getLogger(__name__)

# Below this version SQLite's write-ahead log has a corruption defect; the rollback journal has not.
WAL_SAFE = (3, 51, 3)
BUSY_SECONDS = 5

# PostgreSQL has no 4-byte limit to hit in 2038 this way; SQLite only counts by itself in an INTEGER column.
Counted = BigInteger().with_variant(Integer, "sqlite")
Instant = BigInteger()


class Base(DeclarativeBase):
    """The base of every table, of the house and of its plugins."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


db = SQLAlchemy(metadata=Base.metadata)

# The session of a page or a command, by the type that plain SQLAlchemy knows.
orm = cast("scoped_session[Session]", db.session)

# What says that the database is not there now. PostgreSQL reports a read-only standby as an internal error.
OUTAGES = (OperationalError, InternalError, PoolTimeout)

# Whatever a statement can be executed on: a Core connection, or the session of a page or a command.
Executor = Connection | Session | scoped_session[Session]


class Database:
    """Short Core transactions on one engine. Shared by all threads of a process."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One transaction: committed at the end of the block, rolled back when it raises.

        Raises `Unavailable` when the database cannot be reached, is busy too long or cannot be written.
        """
        try:
            with self.engine.begin() as connection:
                yield connection
        except OUTAGES as e:
            raise unavailable(e) from e

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading only. Raises `Unavailable` like `begin`."""
        try:
            with self.engine.connect() as connection:
                yield connection
        except OUTAGES as e:
            raise unavailable(e) from e


def unavailable(error: SQLAlchemyError) -> Unavailable:
    """The refusal for one of `OUTAGES`: the driver's words for the journal, none for the person."""
    return Unavailable("database_unavailable", str(getattr(error, "orig", error)))


def options(url: str) -> Mapping[str, Any]:
    """Engine options for a database address. Raises `Misconfigured` for an engine that is not supported."""
    kind = _parsed(url).get_backend_name()
    if kind == "sqlite":
        return {"module": pysqlite3.dbapi2, "connect_args": {"timeout": BUSY_SECONDS}}
    if kind == "postgresql":
        return {
            "pool_pre_ping": True,
            "connect_args": {
                "connect_timeout": 5,
                "options": "-c statement_timeout=10000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=30000"
                " -c timezone=UTC",
            },
        }
    raise Misconfigured(f"database.url: {kind} is not supported; use sqlite:/// or postgresql://")


def prepare(url: str) -> URL:
    """The full address of a database. The file of an embedded one is made, readable by its owner only."""
    parts = _parsed(url)
    if parts.get_backend_name() != "sqlite" or not parts.database or parts.database == ":memory:":
        return parts
    path = Path(parts.database).absolute()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    return parts.set(database=str(path))


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError) as e:  # their words may quote the password
        raise Misconfigured("database.url: the address cannot be read; use sqlite:/// or postgresql://") from e


def listen(engine: Engine, synchronous: str) -> None:
    """Set each new SQLite connection up: foreign keys, patience, write-ahead log where it is safe, durability."""
    if engine.dialect.name != "sqlite":
        return
    wal = pysqlite3.dbapi2.sqlite_version_info >= WAL_SAFE
    if not wal:
        log.warning("SQLite %s: below 3.51.3 the rollback journal is used", pysqlite3.dbapi2.sqlite_version)

    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'DELETE'}")
        cursor.execute(f"PRAGMA synchronous = {'NORMAL' if synchronous == 'normal' and wal else 'FULL'}")
        cursor.close()

    @event.listens_for(engine, "savepoint")
    def _savepoint(connection: Connection, _: str) -> None:
        # The driver opens a transaction at the first change only. A savepoint before it would be the transaction
        # itself, and its release a commit of what the caller may still take back.
        driver: Any = connection.connection.dbapi_connection
        if not driver.in_transaction:
            driver.execute("BEGIN IMMEDIATE")


def insert(dialect: Dialect | str, table: Any) -> Any:
    """An INSERT that knows ON CONFLICT, in the words of the dialect."""
    name = dialect if isinstance(dialect, str) else dialect.name
    return postgresql.insert(table) if name == "postgresql" else sqlite.insert(table)


def dialect_of(on: Executor) -> str:
    """The engine's name, `sqlite` or `postgresql`."""
    return on.dialect.name if isinstance(on, Connection) else on.get_bind().dialect.name

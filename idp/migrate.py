"""Migrations: one linear history and one version table per owner, so that removing a plugin breaks no upgrade.

An owner is the house (`core`, table `idp_version`) or a plugin that keeps tables (`idp_<name>_version`). The scripts are
Alembic's; Alembic's `env.py` is not needed, since everything it would configure is decided here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.config import Config
from alembic.operations.ops import MigrationScript
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, text

from idp.db import Base, Database
from idp.errors import Misconfigured

_LOCK = 7306081


@dataclass(frozen=True)
class Owner:
    """Whose tables: `prefix` is how their names begin, none for the house, which owns every other table."""

    name: str
    folder: Path
    prefix: str | None = None

    @property
    def version_table(self) -> str:
        return f"{self.prefix}version" if self.prefix else "idp_version"

    def owns(self, table: str) -> bool:
        """Whether a table belongs to this owner."""
        return table.startswith(self.prefix) if self.prefix else not table.startswith("idp_")


CORE = Owner("core", Path(__file__).with_name("migrations"))


def upgrade(database: Database, owners: Iterable[Owner]) -> dict[str, str]:
    """Bring every owner's tables to its newest revision; which one each now has. Several processes may call this at once.

    Raises `Misconfigured` when a table is at a revision that its code does not know.
    """
    done = {}
    with database.begin() as c:
        if c.dialect.name == "postgresql":
            c.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        else:
            c.exec_driver_sql("BEGIN IMMEDIATE")
        for owner in owners:
            done[owner.name] = _upgrade(c, owner)
    return done


def current(database: Database, owners: Iterable[Owner]) -> dict[str, str | None]:
    """The revision each owner's tables have."""
    with database.read() as c:
        return {o.name: _context(c, o).get_current_revision() for o in owners}


def require_newest(database: Database, owners: Iterable[Owner]) -> None:
    """Raises `Misconfigured` when a table is behind its code."""
    owners = list(owners)
    found = current(database, owners)
    for owner in owners:
        if found[owner.name] != _scripts(owner).get_current_head():
            raise Misconfigured(f"the tables of {owner.name} are not up to date; run: idp migrate")


def difference(c: Connection, owner: Owner) -> str:
    """What an upgrade to today's models would still have to do, as Python; `pass` when there is nothing."""
    context = MigrationContext.configure(c, opts=_options(owner))
    script: MigrationScript = produce_migrations(context, Base.metadata)
    assert script.upgrade_ops is not None
    return render_python_code(script.upgrade_ops)


def _scripts(owner: Owner) -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(owner.folder).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


def _options(owner: Owner) -> dict[str, Any]:
    def include(_item: Any, name: str | None, kind: str, *_: Any) -> bool:
        return kind != "table" or owner.owns(name or "")

    return {
        "version_table": owner.version_table,
        "target_metadata": Base.metadata,
        "include_object": include,
        "render_as_batch": True,
        "compare_type": True,
        "compare_server_default": True,
    }


def _context(c: Connection, owner: Owner) -> MigrationContext:
    return MigrationContext.configure(c, opts={"version_table": owner.version_table})


def _upgrade(c: Connection, owner: Owner) -> str:
    scripts = _scripts(owner)
    head = scripts.get_current_head()
    assert head is not None, f"{owner.name} has no migration"

    def steps(revision: Any, _: MigrationContext) -> Any:
        return scripts._upgrade_revs(head, revision)  # noqa: SLF001  Alembic's own commands call it so

    with EnvironmentContext(Config(), scripts, fn=steps, destination_rev=head) as environment:
        environment.configure(connection=c, transactional_ddl=False, **_options(owner))
        try:
            environment.run_migrations()
        except CommandError as e:
            raise Misconfigured(f"the tables of {owner.name} are newer than this program, or not its own: {e}") from e
    return head

"""The `idp` command. Prints for people; `--json` prints one JSON value. Exit: 0 done, 1 refused, 2 wrong usage."""

import logging
import sys
from typing import NoReturn

import click

from idp import clock, migrate, serve
from idp.app import create_app
from idp.commands import account, as_json, client, entity, say
from idp.db import OUTAGES, orm, unavailable
from idp.errors import Invalid, Misconfigured, Refusal
from idp.house import House
from idp.inspection import check, config, rules
from idp.journal import entries
from idp.keys.commands import key
from idp.login import registry
from idp.login.method import Commands
from idp.settings import load
from idp.trust.commands import certs, trust

HOUSELESS = ("certs", "check", "config", "plugins", "rules")  # commands that work without a configuration or a database


def main() -> NoReturn:
    """The entry point: a refusal is one line on standard error and exit status 1."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        idp(standalone_mode=False)
    except click.exceptions.Exit as e:
        sys.exit(e.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as e:
        e.show()
        sys.exit(e.exit_code)
    except (Refusal, Misconfigured) as e:
        click.echo(f"idp: {_line(e)}", err=True)
        sys.exit(1)
    except OUTAGES as e:
        click.echo(f"idp: {_line(unavailable(e))}", err=True)
        sys.exit(1)
    sys.exit(0)


def _line(error: Exception) -> str:
    if isinstance(error, Invalid):
        text = f"{error.field}: {error.message % error.values if error.values else error.message}"
    elif isinstance(error, Refusal):
        text = error.detail or str(getattr(error, "message", None) or error.cause)
    else:
        text = str(error)
    return " ".join(text.split())


class _Commands(click.Group):
    """The house's own commands, and those of the enabled plugins, which are looked for when no own one has the name."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or self._of_plugins(ctx).get(cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        try:
            brought = self._of_plugins(ctx)
        except Misconfigured as e:
            click.echo(f"idp: commands of plugins are missing here: {_line(e)}", err=True)
            brought = {}
        return sorted({*super().list_commands(ctx), *brought})

    @staticmethod
    def _of_plugins(ctx: click.Context) -> dict[str, click.Command]:
        methods = _open(ctx).methods.values()
        commands = [c for m in methods if isinstance(m, Commands) for c in m.commands()]
        return {str(c.name): c for c in commands}


def _open(ctx: click.Context) -> House:
    """Build the house once for a command and stay in its context; seal the journal when the command is over."""
    ctx = ctx.find_root()
    if ctx.obj is None:
        app = create_app()
        ctx.obj = app.extensions["idp"]
        ctx.call_on_close(ctx.obj.database.engine.dispose)
        ctx.with_resource(app.app_context())
    house: House = ctx.obj
    return house


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="poterne-idp", prog_name="idp")
@click.pass_context
def idp(ctx: click.Context) -> None:
    """The guarded door of an intellectual-property office."""
    if ctx.invoked_subcommand in HOUSELESS or "--help" in sys.argv[2:] or "-h" in sys.argv[2:]:
        return
    house = _open(ctx)
    if ctx.invoked_subcommand in ("serve", "migrate"):
        return
    serve.embedded(house)
    migrate.require_newest(house.database, house.owners)
    ctx.call_on_close(house.journal.seal)


for command in (account, certs, check, client, config, entity, key, rules, trust):
    idp.add_command(command)


# Service ----------------------------------------------------------------------------------------------------------


@idp.command("serve")
@click.pass_obj
def serve_(house: House) -> None:
    """Run the provider."""
    serve.ready(house)
    house.journal.seal()
    house.database.engine.dispose()  # the processes that answer are forked: each opens connections of its own
    click.echo(f"idp: serving {house.settings.server.issuer} on {house.settings.server.listen}", err=True)
    serve.run(house.settings)


@idp.command("migrate")
@as_json
@click.pass_obj
def migrate_(house: House, as_json: bool) -> None:
    """Bring the tables of the house and of its plugins up to date."""
    done = migrate.upgrade(house.database, house.owners)
    say(done, as_json, "\n".join(f"{name}: {revision}" for name, revision in done.items()))


@idp.command()
@as_json
@click.pass_obj
def purge(house: House, as_json: bool) -> None:
    """Do now what the provider does every hour: delete what is over, and accounts that nobody activated."""
    done = house.keeper.run(clock.now())
    say(done, as_json, "\n".join(f"{kind}: {count}" for kind, count in done.items()))


@idp.command()
@as_json
def plugins(as_json: bool) -> None:
    """Show the installed login methods and whether they are enabled."""
    found = registry.installed()
    enabled = load(methods=frozenset(found)).login.methods
    value = [{"name": name, "enabled": name in enabled, "module": e.value} for name, e in sorted(found.items())]
    say(
        value,
        as_json,
        "\n".join(f"{v['name']}{'' if v['enabled'] else ' (not enabled)'}: {v['module']}" for v in value),
    )


# Journal ----------------------------------------------------------------------------------------------------------


@idp.group()
def journal() -> None:
    """What happened, in order."""


@journal.command("show")
@click.option("--last", type=click.IntRange(min=1), help="Only the last so many.")
@as_json
@click.pass_obj
def journal_show(house: House, last: int | None, as_json: bool) -> None:
    """Show the journal."""
    house.journal.seal()
    values = list(entries(orm, limit=last))
    lines = (
        " ".join(str(v[k]) for k in ("at", "event", "account", "client", "address", "cause") if v[k]) for v in values
    )
    say(values, as_json, "\n".join(lines))


@journal.command("verify")
@as_json
@click.pass_obj
def journal_verify(house: House, as_json: bool) -> None:
    """Find a changed, a removed or a cut-off row."""
    house.journal.seal()
    found = house.journal.verify()
    value = {"ok": found.ok, "events": found.events, "first_broken": found.first_broken, "reason": found.reason}
    sentence = f"{found.events} events, whole" if found.ok else f"broken at {found.first_broken}: {found.reason}"
    say(value, as_json, sentence)
    if not found.ok:
        sys.exit(1)

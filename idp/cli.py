"""The `idp` command. Prints for people; `--json` prints one JSON value. Exit: 0 done, 1 refused, 2 wrong usage."""

import json
import logging
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from idp import audit, migrate, serve
from idp.app import create_app
from idp.db import OUTAGES, orm, unavailable
from idp.directory import accounts, clients, entities
from idp.errors import Invalid, Misconfigured, Refusal
from idp.house import House
from idp.keys.commands import key
from idp.language import LANGUAGES
from idp.login import registry
from idp.login.method import Commands, Readiness, Resets
from idp.models import ROLES, STAFF, Account, Client, Entity
from idp.settings import LEVELS, load
from idp.trust.commands import certs, trust

HOUSELESS = ("certs", "plugins")  # commands that work without a configuration or a database

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")


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
        ctx.with_resource(app.app_context())
        ctx.obj = app.extensions["idp"]
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


idp.add_command(key)
idp.add_command(certs)
idp.add_command(trust)


def say(value: Any, as_json: bool, sentence: str) -> None:
    """Print the answer: the JSON value, or the sentence for people."""
    click.echo(json.dumps(value, ensure_ascii=False) if as_json else sentence)


def _stdin() -> str:
    """What stands on standard input, without its last newline."""
    return sys.stdin.read().removesuffix("\n")


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


# Accounts ---------------------------------------------------------------------------------------------------------


@idp.group()
def account() -> None:
    """People who can sign in."""


def describe_account(house: House, found: Account) -> dict[str, Any]:
    """An account as commands show it."""
    count = house.lockout.count(orm, found.id)
    member = found.membership
    methods = [name for name, m in house.methods.items() if m.ready_for(found.id) is Readiness.ENROLLED]
    return {
        "id": found.id,
        "email": found.email,
        "username": found.username,
        "given_name": found.given_name,
        "family_name": found.family_name,
        "state": found.state,
        "staff": found.staff,
        "blocked": count.blocked,
        "failed_attempts": count.failed,
        "entity": member.entity_id if member else None,
        "role": member.role if member else None,
        "methods": methods,
    }


def _account_line(value: dict[str, Any]) -> str:
    notes = [value["state"], *(["blocked"] if value["blocked"] else []), *([value["role"]] if value["role"] else [])]
    return f"{value['email']}: {value['given_name']} {value['family_name']}, {', '.join(notes)} ({value['id']})"


def _say_account(house: House, found: Account, as_json: bool) -> None:
    value = describe_account(house, found)
    say(value, as_json, _account_line(value))


@account.command("add")
@click.argument("email")
@click.option("--given-name", required=True)
@click.option("--family-name", required=True)
@click.option("--username")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input; the account is active.")
@click.option("--staff", type=click.Choice(STAFF))
@click.option("--locale", type=click.Choice(LANGUAGES))
@as_json
@click.pass_obj
def account_add(house: House, /, email: str, password_stdin: bool, as_json: bool, **given: Any) -> None:
    """Add an account. Without a password an activation letter leaves."""
    made = accounts.add(orm, email, **given)
    if password_stdin:
        method = house.methods.resetting
        if not isinstance(method, Resets):
            raise Invalid("password", "no enabled login method has passwords")
        password = _stdin()
        orm.flush()
        method.replace(made.id, password)
        accounts.activate(orm, made)
        audit.record(orm, audit.PasswordChanged(account=made.id, cause="command"))
    else:
        house.send_activation(orm, made)
    orm.commit()
    _say_account(house, made, as_json)


@account.command("show")
@click.argument("email")
@as_json
@click.pass_obj
def account_show(house: House, email: str, as_json: bool) -> None:
    """Show an account."""
    _say_account(house, accounts.get(orm, email), as_json)


@account.command("list")
@as_json
@click.pass_obj
def account_list(house: House, as_json: bool) -> None:
    """Show every account."""
    values = [describe_account(house, a) for a in accounts.listed(orm)]
    say(values, as_json, "\n".join(map(_account_line, values)) or "no account")


@account.command("unblock")
@click.argument("email")
@as_json
@click.pass_obj
def account_unblock(house: House, email: str, as_json: bool) -> None:
    """Clear an account's wrong attempts and its block."""
    found = accounts.get(orm, email)
    house.lockout.unblock(orm, found.id, "command")
    orm.commit()
    _say_account(house, found, as_json)


# Entities ---------------------------------------------------------------------------------------------------------


@idp.group()
def entity() -> None:
    """Companies and law firms, and who belongs to them."""


def _say_entity(found: Entity, as_json: bool) -> None:
    members = [
        {"email": m.account.email, "role": m.role, "suspended": m.suspended_at is not None} for m in found.memberships
    ]
    names = ("id", "name", *entities.NUMBERS, "verified")
    value = {**{name: getattr(found, name) for name in names}, "members": members}
    lines = [f"{found.name} ({found.id})", *(f"  {m['email']}: {m['role']}" for m in members)]
    say(value, as_json, "\n".join(lines))


@entity.command("add")
@click.argument("name")
@click.option("--manager", required=True, metavar="EMAIL")
@click.option("--siren")
@click.option("--siret")
@click.option("--legal-form")
@click.option("--activity-code")
@click.option("--country")
@as_json
def entity_add(name: str, manager: str, as_json: bool, **numbers: str | None) -> None:
    """Add an entity with its first manager."""
    made = entities.add(orm, name, accounts.get(orm, manager), **numbers)
    orm.commit()
    _say_entity(made, as_json)


@entity.command("attach")
@click.argument("entity_id", metavar="ID")
@click.argument("email")
@click.option("--role", type=click.Choice(ROLES), required=True)
@as_json
def entity_attach(entity_id: str, email: str, role: str, as_json: bool) -> None:
    """Make an account a member of an entity."""
    found = entities.get(orm, entity_id)
    entities.attach(orm, found, accounts.get(orm, email), role)
    orm.commit()
    _say_entity(found, as_json)


@entity.command("show")
@click.argument("entity_id", metavar="ID")
@as_json
def entity_show(entity_id: str, as_json: bool) -> None:
    """Show an entity and its members."""
    _say_entity(entities.get(orm, entity_id), as_json)


# Clients ----------------------------------------------------------------------------------------------------------


@idp.group()
def client() -> None:
    """Relying applications: the portals."""


def describe_client(found: Client) -> dict[str, Any]:
    """A client as commands show it; never its secret."""
    names = ("name", "auth_method", "redirect_uris", "post_logout_redirect_uris", "grants", "scopes", "first_party")
    more = ("pkce", "min_acr", "id_token_alg")
    return {"client_id": found.id, **{name: getattr(found, name) for name in (*names, *more)}}


@client.command("add")
@click.argument("name")
@click.option("--redirect-uri", "redirect_uris", multiple=True, required=True, metavar="URI")
@click.option("--client-id")
@click.option("--client-secret-stdin", is_flag=True, help="Read the secret from standard input.")
@click.option("--auth-method", type=click.Choice(clients.AUTH_METHODS), default=clients.AUTH_METHODS[0])
@click.option("--grant", "grants", type=click.Choice(clients.GRANTS), multiple=True, default=clients.GRANTS)
@click.option("--scope", "scopes", type=click.Choice(clients.SCOPES), multiple=True, default=clients.SCOPES)
@click.option("--post-logout-redirect-uri", "post_logout_redirect_uris", multiple=True, metavar="URI")
@click.option("--first-party", is_flag=True, help="The office's own portal: no consent page.")
@click.option("--no-pkce", is_flag=True, help="For an old confidential client that cannot do PKCE.")
@click.option("--min-acr", type=click.Choice(LEVELS))
@click.option("--id-token-alg", type=click.Choice(clients.ID_TOKEN_ALGS), default=clients.ID_TOKEN_ALGS[0])
@as_json
def client_add(
    name: str, *, redirect_uris: Sequence[str], client_secret_stdin: bool, no_pkce: bool, as_json: bool, **given: Any
) -> None:
    """Register a client. A secret that was made here is shown once, now."""
    secret = _stdin() if client_secret_stdin else None
    made, secret = clients.add(orm, name, redirect_uris, secret=secret, pkce=not no_pkce, **given)
    orm.commit()
    value = {**describe_client(made), **({"client_secret": secret} if secret else {})}
    lines = [f"{made.name}: client_id {made.id}", *([f"client_secret {secret} (shown once)"] if secret else [])]
    say(value, as_json, "\n".join(lines))


@client.command("show")
@click.argument("client_id")
@as_json
def client_show(client_id: str, as_json: bool) -> None:
    """Show a client."""
    value = describe_client(clients.get(orm, client_id))
    say(value, as_json, "\n".join(f"{name}: {_words(content)}" for name, content in value.items()))


@client.command("list")
@as_json
def client_list(as_json: bool) -> None:
    """Show every client."""
    values = [describe_client(c) for c in clients.listed(orm)]
    say(values, as_json, "\n".join(f"{v['client_id']}: {v['name']}" for v in values) or "no client")


def _words(content: Any) -> str:
    return " ".join(content) if isinstance(content, list) else str(content)


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
    values = list(audit.entries(orm, limit=last))
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

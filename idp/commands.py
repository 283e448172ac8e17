"""`idp account`, `idp entity`, `idp client`: what staff does with people, companies and portals. Each command commits."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from idp import audit
from idp.db import orm
from idp.directory import accounts, clients, entities
from idp.errors import Invalid
from idp.house import House
from idp.language import LANGUAGES
from idp.login.method import Readiness, Resets
from idp.models import ROLES, STAFF, Account, Client, Entity
from idp.settings import LEVELS

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")


def say(value: Any, as_json: bool, sentence: str) -> None:
    """Print the answer: the JSON value, or the sentence for people."""
    click.echo(json.dumps(value, ensure_ascii=False) if as_json else sentence)


def _stdin() -> str:
    """What stands on standard input, without its last newline."""
    return sys.stdin.read().removesuffix("\n")


# Accounts ---------------------------------------------------------------------------------------------------------


@click.group()
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
        try:
            method.replace(made.id, password)
        except Invalid as e:
            broken = [
                r.sentence % r.values if r.values else r.sentence for r in method.rules(made.id, password) if not r.met
            ]
            raise Invalid(e.field, f"needs {'; '.join(broken)}" if broken else e.message, e.cause) from e
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


@click.group()
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


@click.group()
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

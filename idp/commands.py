"""`idp account`, `idp entity`, `idp client`: what staff does with people, companies and portals. Each command commits."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from idp import audit
from idp.db import orm
from idp.directory import accounts, clients, entities, personal_data
from idp.errors import Conflict, Invalid
from idp.house import House
from idp.language import LANGUAGES
from idp.login.method import Describes, Readiness, Resets
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


@account.command("resend")
@click.argument("email")
@as_json
@click.pass_obj
def account_resend(house: House, email: str, as_json: bool) -> None:
    """Send a new activation letter; its link gives the whole time anew."""
    found = accounts.get(orm, email)
    if found.state != "pending":
        raise Conflict("account_not_pending", f"{found.email} is {found.state}")
    house.send_activation(orm, found)
    orm.commit()
    _say_account(house, found, as_json)


@account.command("disable")
@click.argument("email")
@as_json
@click.pass_obj
def account_disable(house: House, email: str, as_json: bool) -> None:
    """Let an account sign in no more; its sessions and tokens die."""
    found = accounts.get(orm, email)
    accounts.disable(orm, found.id, "command")
    orm.commit()
    _say_account(house, found, as_json)


@account.command("enable")
@click.argument("email")
@as_json
@click.pass_obj
def account_enable(house: House, email: str, as_json: bool) -> None:
    """Let a disabled account sign in again. One that was never activated gets a new activation letter."""
    found = accounts.get(orm, email)
    accounts.enable(orm, found.id)
    orm.refresh(found)
    if found.state == "pending":
        house.send_activation(orm, found)
    orm.commit()
    _say_account(house, found, as_json)


@account.command("erase")
@click.argument("email")
@as_json
@click.pass_obj
def account_erase(house: House, email: str, as_json: bool) -> None:
    """Delete an account and everything about the person; the journal keeps the id only."""
    found = accounts.get(orm, email)
    value = {**describe_account(house, found), "state": "erased"}
    personal_data.erase(orm, found.id, "command")
    house.lockout.forget(orm, value["id"])
    orm.commit()
    say(value, as_json, f"{value['email']}: erased ({value['id']})")


@account.command("export")
@click.argument("email")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON value; without it the same, indented.")
@click.pass_obj
def account_export(house: House, email: str, as_json: bool) -> None:
    """Show everything that is stored about a person, without secrets."""
    found = accounts.get(orm, email)
    t = house.languages[found.locale]
    means = {name: m.describe(found.id, t) for name, m in house.methods.items() if isinstance(m, Describes)}
    told = {name: [{"title": one.title, **dict(one.facts)} for one in held] for name, held in means.items()}
    value = {**describe_account(house, found), **personal_data.export(orm, found.id), "means": told}
    audit.record(orm, audit.AccountExported(account=found.id, cause="command"))
    orm.commit()
    say(value, as_json, json.dumps(value, ensure_ascii=False, indent=2))


# Entities ---------------------------------------------------------------------------------------------------------


@click.group()
def entity() -> None:
    """Companies and law firms, and who belongs to them."""


def describe_entity(found: Entity) -> dict[str, Any]:
    """An entity as commands show it, with its members."""
    members = [
        {"email": m.account.email, "role": m.role, "suspended": m.suspended_at is not None} for m in found.memberships
    ]
    values = {name: getattr(found, name) for name in ("id", "name", *entities.NUMBERS, "verified")}
    return {**values, "closed": found.closed_at is not None, "members": members}


def _entity_line(value: dict[str, Any]) -> str:
    notes = [word for word in ("verified", "closed") if value[word]]
    return f"{value['name']} ({', '.join([value['id'], *notes])})"


def _say_entity(found: Entity, as_json: bool) -> None:
    value = describe_entity(found)
    members = [f"  {m['email']}: {m['role']}{', suspended' if m['suspended'] else ''}" for m in value["members"]]
    say(value, as_json, "\n".join([_entity_line(value), *members]))


@entity.command("add")
@click.argument("name")
@click.option("--manager", required=True, metavar="EMAIL")
@click.option("--siren")
@click.option("--siret")
@click.option("--legal-form")
@click.option("--activity-code")
@click.option("--country")
@as_json
def entity_add(name: str, manager: str, as_json: bool, **numbers: Any) -> None:
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


@entity.command("list")
@as_json
def entity_list(as_json: bool) -> None:
    """Show every entity."""
    values = [describe_entity(e) for e in entities.listed(orm)]
    say(values, as_json, "\n".join(map(_entity_line, values)) or "no entity")


@entity.command("verify")
@click.argument("entity_id", metavar="ID")
@as_json
def entity_verify(entity_id: str, as_json: bool) -> None:
    """Note that the office has verified who the entity is."""
    found = entities.verify(orm, entity_id)
    orm.commit()
    _say_entity(found, as_json)


@entity.command("close")
@click.argument("entity_id", metavar="ID")
@as_json
def entity_close(entity_id: str, as_json: bool) -> None:
    """Close an entity: everybody is detached, waiting requests are cancelled."""
    entities.close(orm, entities.COMMAND, entity_id)
    orm.commit()
    _say_entity(entities.get(orm, entity_id), as_json)


def _member_command(act: str, sentence: str) -> None:
    @entity.command(act, help=sentence)
    @click.argument("entity_id", metavar="ID")
    @click.argument("email")
    @as_json
    def run(entity_id: str, email: str, as_json: bool) -> None:
        entities.change(orm, entities.COMMAND, entity_id, accounts.get(orm, email).id, act)
        orm.commit()
        _say_entity(entities.get(orm, entity_id), as_json)


for _act, _sentence in {
    "promote": "Make a collaborator a manager.",
    "demote": "Make a manager a collaborator; one manager has to stay.",
    "suspend": "Let a member sign in without the entity and its rights; one manager has to stay.",
    "resume": "End a suspension.",
    "detach": "Take a member out of an entity; one manager has to stay.",
}.items():
    _member_command(_act, _sentence)


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


@client.command("remove")
@click.argument("client_id")
@as_json
def client_remove(client_id: str, as_json: bool) -> None:
    """Remove a client; its grants and tokens die."""
    value = describe_client(clients.get(orm, client_id))
    clients.remove(orm, client_id)
    orm.commit()
    say(value, as_json, f"{value['client_id']}: removed")


@client.command("rotate-secret")
@click.argument("client_id")
@as_json
def client_rotate_secret(client_id: str, as_json: bool) -> None:
    """Give a client a new secret, shown once, now. The old one is dead."""
    secret = clients.rotate_secret(orm, client_id)
    orm.commit()
    value = {**describe_client(clients.get(orm, client_id)), "client_secret": secret}
    say(value, as_json, f"{client_id}: client_secret {secret} (shown once)")


def _words(content: Any) -> str:
    return " ".join(content) if isinstance(content, list) else str(content)

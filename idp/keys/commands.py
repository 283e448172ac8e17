"""`idp key`: what the security team does with the ring. No page does any of it."""

from typing import Protocol

import click
import orjson

from idp import clock
from idp.keys.algorithms import ALGORITHMS
from idp.keys.ring import Listed, Ring


class HasRing(Protocol):
    """The part of the house that these commands need."""

    @property
    def ring(self) -> Ring: ...


_alg = click.Choice(ALGORITHMS)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")
_now = click.option("--now", is_flag=True, help="Even when portals may not know the next key yet.")
_kid = click.argument("kid")
_ANY_KID = {"ignore_unknown_options": True}  # one kid in 64 begins with a dash


@click.group("key")
def key() -> None:
    """The keys that sign tokens."""


@key.command("list")
@_json
@click.pass_obj
def list_keys(house: HasRing, as_json: bool) -> None:
    """Show every key and its state."""
    _show(house.ring, as_json)


@key.command()
@click.option("--alg", type=_alg, required=True, help="What the key signs with.")
@_json
@click.pass_obj
def create(house: HasRing, alg: str, as_json: bool) -> None:
    """Make a next key: published, but not signing yet."""
    house.ring.create(alg)
    _show(house.ring, as_json)


@key.command()
@click.option("--alg", type=_alg, help="Only this algorithm; without it, every one in use.")
@_now
@_json
@click.pass_obj
def rotate(house: HasRing, alg: str | None, now: bool, as_json: bool) -> None:
    """Sign with the next key, retire the active one, make a new next one."""
    house.ring.rotate(alg, now=now)
    _show(house.ring, as_json)


@key.command(context_settings=_ANY_KID)
@_kid
@_now
@_json
@click.pass_obj
def activate(house: HasRing, kid: str, now: bool, as_json: bool) -> None:
    """Sign with the next key KID and retire the active one."""
    house.ring.activate(kid, now=now)
    _show(house.ring, as_json)


@key.command(context_settings=_ANY_KID)
@_kid
@_now
@_json
@click.pass_obj
def retire(house: HasRing, kid: str, now: bool, as_json: bool) -> None:
    """Stop signing with KID; what it signed still counts."""
    house.ring.retire(kid, now=now)
    _show(house.ring, as_json)


@key.command(context_settings=_ANY_KID)
@_kid
@_json
@click.pass_obj
def revoke(house: HasRing, kid: str, as_json: bool) -> None:
    """Remove KID at once: nothing that it signed counts any more."""
    house.ring.revoke(kid)
    _show(house.ring, as_json)


def _show(ring: Ring, as_json: bool) -> None:
    keys = ring.listed()
    if as_json:
        click.echo(orjson.dumps([_row(k) for k in keys]))
        return
    for k in keys:
        since = next(at for at in (k.retired_at, k.activated_at, k.created_at) if at is not None)
        click.echo(f"{k.kid}  {k.alg:<5}  {k.store:<8}  {k.state:<7}  since {clock.text(since)}")


def _row(listed: Listed) -> dict[str, str | None]:
    return {
        "kid": listed.kid,
        "alg": listed.alg,
        "store": listed.store,
        "state": listed.state,
        "created": clock.text(listed.created_at),
        "activated": _text(listed.activated_at),
        "retired": _text(listed.retired_at),
    }


def _text(instant: int | None) -> str | None:
    return None if instant is None else clock.text(instant)

"""`idp card`: cards of an account, as acts of staff. Each command commits; refusals are raised through."""

import json
from pathlib import Path
from typing import Any

import click
from asn1crypto import pem

from idp.plugin import Desk, NotFound, Refused
from idp_smartcard import cards
from idp_smartcard.tables import Card

CAUSE = "command"


def group(desk: Desk) -> click.Group:
    """The commands, bound to the house's desk."""
    card = click.Group("card", help="Smartcards of an account.")
    as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")
    email = click.argument("email")

    @card.command("add")
    @email
    @click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
    @as_json
    def add(email: str, file: Path, *, as_json: bool) -> None:
        """Enrol the certificate in FILE (PEM or DER) to the account with the address EMAIL."""
        _say(desk, cards.enrol(desk, _account(desk, email), certificate(file.read_bytes()), CAUSE), as_json)

    @card.command("list")
    @email
    @as_json
    def list_(email: str, *, as_json: bool) -> None:
        """The cards that the account has or had."""
        values = [cards.describe(c) for c in cards.of_account(desk, _account(desk, email))]
        click.echo(json.dumps(values, ensure_ascii=False) if as_json else "\n".join(map(_line, values)) or "no card")

    @card.command("block")
    @email
    @click.argument("sha256")
    @as_json
    def block(email: str, sha256: str, *, as_json: bool) -> None:
        """Let a card sign in no longer; it stays with the account."""
        _say(desk, cards.block(desk, _account(desk, email), sha256, CAUSE), as_json)

    @card.command("remove")
    @email
    @click.argument("sha256")
    @as_json
    def remove(email: str, sha256: str, *, as_json: bool) -> None:
        """Take a card from the account."""
        _say(desk, cards.remove(desk, _account(desk, email), sha256, CAUSE), as_json)

    return card


def certificate(file: bytes) -> bytes:
    """The one certificate of a PEM or DER file, as DER. Raises `Refused("certificate_unreadable")`."""
    if not pem.detect(file):
        return file
    try:
        found = [(kind, content) for kind, _, content in pem.unarmor(file, multiple=True)]
    except (ValueError, TypeError) as e:
        raise Refused("certificate_unreadable", "broken PEM") from e
    if len(found) != 1 or found[0][0] != "CERTIFICATE":
        raise Refused("certificate_unreadable", "the file must hold exactly one certificate")
    return bytes(found[0][1])


def _account(desk: Desk, email: str) -> str:
    account_id = desk.find(email)
    if account_id is None:
        raise NotFound("account_unknown", f"no account has the address {email}")
    return account_id


def _say(desk: Desk, card: Card, as_json: bool) -> None:
    value = cards.describe(card)
    desk.session.commit()
    click.echo(json.dumps(value, ensure_ascii=False) if as_json else _line(value))


def _line(value: dict[str, Any]) -> str:
    return f"{value['sha256']} {value['state']}: {value['subject']}, until {value['expires_at']} ({value['anchor']})"

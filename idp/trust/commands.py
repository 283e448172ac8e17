"""`idp trust` and `idp certs`. Refusals are raised through: the main program prints them and exits with 1."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

from idp.db import Database
from idp.trust import anchors

F = TypeVar("F", bound=Callable[..., Any])


class House(Protocol):
    """What these commands need of the house."""

    database: Database


_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_WORDS = {"require": "revocation required", "soft": "revocation soft", "none": "NO REVOCATION CHECK"}


def _json(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")(command)


def _say(value: Any, as_json: bool, sentence: str) -> None:
    click.echo(json.dumps(value, ensure_ascii=False) if as_json else sentence)


def _line(anchor: dict[str, Any]) -> str:
    parts = [f"{anchor['name']}: {anchor['subject']}, until {anchor['expires_at']}", _WORDS[anchor["revocation"]]]
    if anchor["crl_expires_at"]:
        parts.append(f"list of {anchor['crl_age'] // 3600} hours ago, until {anchor['crl_expires_at']}")
    elif anchor["revocation"] == "require":
        parts.append("no list of revoked certificates: every card is refused until there is one")
    return "; ".join(parts)


@click.group()
def trust() -> None:
    """The authorities whose cards are accepted."""


@trust.command("add")
@click.argument("file", type=_FILE)
@click.option("--name", required=True, help="The anchor's name, yours to choose.")
@click.option("--revocation", type=click.Choice(["require", "soft", "none"]), default="require", show_default=True)
@click.option("--crl", type=_FILE, help="List of revoked certificates, PEM or DER.")
@click.option("--allow-missing-eku", is_flag=True, help="Accept certificates without extendedKeyUsage.")
@click.option("--forbid-policy", "policies", multiple=True, metavar="OID", help="Refuse this policy; repeatable.")
@_json
@click.pass_obj
def add(
    house: House,
    *,
    file: Path,
    name: str,
    revocation: str,
    crl: Path | None,
    allow_missing_eku: bool,
    policies: tuple[str, ...],
    as_json: bool,
) -> None:
    """Trust the authority that issued the certificate in FILE."""
    with house.database.begin() as on:
        added = anchors.add(
            on,
            file.read_bytes(),
            name,
            revocation,
            allow_missing_eku=allow_missing_eku,
            forbid_policies=policies,
            crl=crl.read_bytes() if crl else None,
        )
    value = anchors.describe(added)
    _say(value, as_json, _line(value))


@trust.command("list")
@_json
@click.pass_obj
def list_(house: House, *, as_json: bool) -> None:
    """The anchors, with their terms and the age of their revocation data."""
    with house.database.read() as on:
        values = [anchors.describe(a) for a in anchors.listed(on)]
    _say(values, as_json, "\n".join(map(_line, values)) or "no anchor: no card is accepted")


@trust.command("refresh")
@click.argument("name")
@click.option("--crl", type=_FILE, required=True, help="The newer list of revoked certificates, PEM or DER.")
@_json
@click.pass_obj
def refresh(house: House, *, name: str, crl: Path, as_json: bool) -> None:
    """Replace the list of revoked certificates of the anchor NAME."""
    with house.database.begin() as on:
        value = anchors.describe(anchors.refresh(on, name, crl.read_bytes()))
    _say(value, as_json, _line(value))


@trust.command("remove")
@click.argument("name")
@_json
@click.pass_obj
def remove(house: House, *, name: str, as_json: bool) -> None:
    """Trust the anchor NAME no longer; its cards are refused from now on."""
    with house.database.begin() as on:
        value = anchors.describe(anchors.named(on, name))
        anchors.remove(on, name)
    _say(value, as_json, f"{name} is no longer trusted")


@click.group()
def certs() -> None:
    """Certificates and cards for trials, never for production."""


@certs.command("dev")
@click.argument("folder", metavar="DIR", type=_FOLDER)
@_json
def dev_authority(*, folder: Path, as_json: bool) -> None:
    """Make a small authority in DIR; the anchor to trust is DIR/issuing.pem."""
    from idp.trust import dev  # loads the PKCS#11 binding, which no other command needs

    value = dev.authority(folder)
    _say(value, as_json, f"made {value['anchor']}; trust it with --crl {value['crl']}")


@certs.command("dev-card")
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--token", required=True, help="Label of the SoftHSM token; made when missing.")
@click.option("--pin", required=True)
@click.option("--name", required=True, help='The holder, for example "Alice Martin".')
@click.option("--alg", type=click.Choice(["ES256", "RS256"]), default="ES256", show_default=True)
@click.option("--expired", is_flag=True)
@click.option("--signature-only", is_flag=True, help="Not made for signing in.")
@click.option("--revoked", is_flag=True, help="Also lists it in DIR/issuing.crl.")
@_json
def dev_card(
    *,
    folder: Path,
    token: str,
    pin: str,
    name: str,
    alg: str,
    expired: bool,
    signature_only: bool,
    revoked: bool,
    as_json: bool,
) -> None:
    """Make a card on a SoftHSM token, issued by the authority in DIR."""
    from idp.trust import dev

    kind = dev.Kind(expired=expired, signature_only=signature_only, revoked=revoked)
    value = dev.card(folder, token, pin, name, alg, kind)
    _say(value, as_json, f"made {value['certificate']} for {name} on the token {token}")

"""The certification authorities that the office trusts for cards, each with its own terms and revocation data.

An anchor is the authority that issues the cards (an intermediate one as a rule): cards need no chain of their own then,
and a sister authority under the same root is not trusted by accident.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from sqlalchemy import delete, select, update
from sqlalchemy import insert as plain_insert
from sqlalchemy.exc import IntegrityError

from idp import clock
from idp.audit import AnchorAdded, Event, record
from idp.db import Executor, dialect_of, insert
from idp.errors import Conflict, Invalid, NotFound, Refused
from idp.models import Anchor, Version
from idp.trust import revocation as lists
from idp.trust.certificate import Certificate, one
from idp.trust.certificate import read as read_certificate
from idp.trust.profile import WEAK_HASHES

Revocation = Literal["require", "soft", "none"]
_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+", re.ASCII)
_TABLE = Anchor.__table__
_VERSION = select(Version.number).where(Version.name == "anchors")
_ALL = select(_TABLE).order_by(_TABLE.c.name)


@dataclass(frozen=True)
class Authority:
    """An anchor, ready for judging. `revocation` is `require`, `soft` (no data is forgiven) or `none`; `crl` is DER."""

    name: str
    certificate: bytes = field(repr=False)
    revocation: str = "require"
    allow_missing_eku: bool = False
    forbid_policies: tuple[str, ...] = ()
    crl: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class AnchorRefreshed(Event):
    """The list of revoked certificates of an anchor was replaced."""

    name = "anchor.refreshed"
    anchor: str


@dataclass(frozen=True, kw_only=True)
class AnchorRemoved(Event):
    name = "anchor.removed"
    anchor: str


def build(
    file: bytes,
    name: str,
    revocation: str = "require",
    *,
    allow_missing_eku: bool = False,
    forbid_policies: Iterable[str] = (),
    crl: bytes | None = None,
    at: int | None = None,
) -> Authority:
    """An authority from a PEM or DER file, with the list of revoked certificates that it signed.

    With `at` its certificate must be valid then. Raises `Invalid` with a sentence.
    """
    certificate = _authority(file)
    if revocation not in get_args(Revocation):
        raise Invalid("revocation", f"{revocation!r} is unknown; it is require, soft or none")
    policies = tuple(dict.fromkeys(forbid_policies))
    if wrong := [p for p in policies if not _OID.fullmatch(p)]:
        raise Invalid("forbid_policies", f"{wrong[0]!r} is not an object identifier")
    if at is not None and not certificate.not_before <= at <= certificate.not_after:
        raise Invalid("file", f"the authority is valid until {clock.text(certificate.not_after)}, not now")
    if crl is not None:
        if revocation == "none":
            raise Invalid("crl", "with revocation none the list of revoked certificates would never be looked at")
        found = lists.read(crl)
        lists.check(found, certificate, clock.now() if at is None else at)
        crl = found.der
    return Authority(name, certificate.der, revocation, allow_missing_eku, policies, crl)


def add(
    on: Executor,
    file: bytes,
    name: str,
    revocation: str = "require",
    *,
    allow_missing_eku: bool = False,
    forbid_policies: Iterable[str] = (),
    crl: bytes | None = None,
) -> Authority:
    """Trust one more authority, in the open transaction. Raises `Invalid` or `Conflict` with a sentence."""
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise Invalid("name", "a name of 1 to 100 visible characters is needed")
    now = clock.now()
    new = build(
        file,
        name,
        revocation,
        allow_missing_eku=allow_missing_eku,
        forbid_policies=forbid_policies,
        crl=crl,
        at=now,
    )
    for known in listed(on):
        if known.name == name:
            raise Conflict("anchor_exists", f"an anchor is already named {name}")
        if known.certificate == new.certificate:
            raise Conflict("anchor_exists", f"this authority is already trusted as {known.name}")
    row = {
        "name": new.name,
        "certificate": new.certificate,
        "revocation": new.revocation,
        "allow_missing_eku": new.allow_missing_eku,
        "forbid_policies": list(new.forbid_policies),
        "crl": new.crl,
        "added_at": now,
    }
    try:
        on.execute(plain_insert(Anchor).values(row))
    except IntegrityError as e:  # another command was faster
        raise Conflict("anchor_exists", f"an anchor is already named {name}") from e
    _changed(on)
    record(on, AnchorAdded(anchor=name, revocation=new.revocation))
    return new


def refresh(on: Executor, name: str, crl: bytes) -> Authority:
    """Replace an anchor's list of revoked certificates by a newer one. Raises `NotFound` or `Invalid`."""
    anchor = named(on, name)
    if anchor.revocation == "none":
        raise Invalid("crl", f"{name} is trusted without revocation: the list would never be looked at")
    found = lists.read(crl)
    lists.check(found, read_certificate(anchor.certificate), clock.now())
    if anchor.crl is not None and _older(found, lists.read(anchor.crl)):
        raise Invalid("crl", "this list of revoked certificates is older than the one at hand")
    on.execute(update(Anchor).where(Anchor.name == name).values(crl=found.der))
    _changed(on)
    record(on, AnchorRefreshed(anchor=name))
    return named(on, name)


def remove(on: Executor, name: str) -> None:
    """Trust an authority no longer: its cards are refused from now on. Raises `NotFound`."""
    named(on, name)
    on.execute(delete(Anchor).where(Anchor.name == name))
    _changed(on)
    record(on, AnchorRemoved(anchor=name))


def named(on: Executor, name: str) -> Authority:
    """One anchor. Raises `NotFound`."""
    for known in listed(on):
        if known.name == name:
            return known
    raise NotFound("anchor_unknown", f"no anchor is named {name}")


def listed(on: Executor) -> tuple[Authority, ...]:
    """Every anchor, by name."""
    return tuple(
        Authority(
            name=row["name"],
            certificate=bytes(row["certificate"]),
            revocation=row["revocation"],
            allow_missing_eku=bool(row["allow_missing_eku"]),
            forbid_policies=tuple(row["forbid_policies"]),
            crl=None if row["crl"] is None else bytes(row["crl"]),
        )
        for row in on.execute(_ALL).mappings()
    )


class Trusted:
    """The anchors as last read, and read again when their version has moved. Shared by all threads of a process."""

    def __init__(self) -> None:
        self._read: tuple[int, tuple[Authority, ...]] | None = None

    def __call__(self, on: Executor) -> tuple[Authority, ...]:
        """The anchors of now."""
        # The number first: anchors that change in between are then read once more, never missed.
        number = on.execute(_VERSION).scalar_one_or_none() or 0
        if self._read is None or self._read[0] != number:
            self._read = (number, listed(on))
        return self._read[1]


def describe(anchor: Authority) -> dict[str, Any]:
    """An anchor as commands and the console show it. Instants are RFC 3339 text, the age is in seconds."""
    certificate = read_certificate(anchor.certificate)
    found = None if anchor.crl is None else lists.read(anchor.crl)
    return {
        "name": anchor.name,
        "subject": certificate.subject,
        "sha256": certificate.sha256,
        "expires_at": clock.text(certificate.not_after),
        "revocation": anchor.revocation,
        "allow_missing_eku": anchor.allow_missing_eku,
        "forbid_policies": list(anchor.forbid_policies),
        "crl_age": None if found is None else clock.now() - found.this_update,
        "crl_expires_at": None if found is None else clock.text(found.next_update),
    }


def _authority(file: bytes) -> Certificate:
    """The certificate of an authority that may issue cards. Raises `Invalid`."""
    try:
        found = read_certificate(one(file))
    except Refused as e:
        raise Invalid("file", f"the file is not one readable certificate ({e.detail})") from e
    if not found.authority or (found.usage is not None and "key_cert_sign" not in found.usage):
        raise Invalid("file", "this is not the certificate of a certification authority")
    if found.key == "rsa" and found.key_bits < 2048:
        raise Invalid("file", f"the authority’s RSA key has only {found.key_bits} bits")
    # A root signs itself and is trusted as it stands; any other weak signature is a link that could be forged.
    if found.signature_hash in WEAK_HASHES and found.parsed.self_signed == "no":
        raise Invalid("file", f"the authority’s certificate is signed over {found.signature_hash}")
    return found


def _older(new: lists.RevocationList, old: lists.RevocationList) -> bool:
    if new.number is not None and old.number is not None:
        return new.number < old.number
    return new.this_update < old.this_update


def _changed(on: Executor) -> None:
    """Tell every process, in the open transaction, that the anchors have changed."""
    table = insert(dialect_of(on), Version)
    number = Version.__table__.c.number + 1
    on.execute(
        table.values(name="anchors", number=1).on_conflict_do_update(index_elements=["name"], set_={"number": number})
    )

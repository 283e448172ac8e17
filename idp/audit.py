"""The journal: every event as a dataclass, `record()`, and the chain that makes a change show.

A row is written in its cause's transaction, without a hash, so that writers never wait for one another. The sealer
chains rows in order with a keyed hash (each second, and after each command) and keeps the last head outside the
database: a changed, a removed and a cut-off row all show in `verify()`.
"""

import hmac
import json
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import Connection, func, insert, select, text
from sqlalchemy.exc import IntegrityError

from idp import clock
from idp.db import Database, Executor
from idp.models import JournalEntry, JournalSeal
from idp.sealing import Mac

MAX_TEXT = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_ENTRY = JournalEntry.__table__.c
_SEAL = JournalSeal.__table__.c
FIRST = "poterne journal"  # what the first entry is chained to
_DAMAGED = -1  # the position that a head file names when it cannot be read: no chain reaches it


@dataclass(frozen=True, kw_only=True)
class Event:
    """What happened. `name` is stable; the four columns are common, every other field goes into `details`."""

    name: ClassVar[str]
    account: str | None = None
    client: str | None = None
    address: str | None = None
    cause: str | None = None


@dataclass(frozen=True, kw_only=True)
class AccountAdded(Event):
    name = "account.added"
    staff: str | None = None


@dataclass(frozen=True, kw_only=True)
class AccountUnblocked(Event):
    """`cause`: `reset` or `command`."""

    name = "account.unblocked"


@dataclass(frozen=True, kw_only=True)
class AccountBlocked(Event):
    name = "account.blocked"


@dataclass(frozen=True, kw_only=True)
class AccountActivated(Event):
    name = "account.activated"


@dataclass(frozen=True, kw_only=True)
class AccountDisabled(Event):
    """`cause`: `command`, or `activation_deadline` when the account was not activated in time."""

    name = "account.disabled"


@dataclass(frozen=True, kw_only=True)
class AccountEnabled(Event):
    name = "account.enabled"


@dataclass(frozen=True, kw_only=True)
class AccountErased(Event):
    """The account and everything about the person is gone, but for its id here. `cause` as for `AccountDisabled`."""

    name = "account.erased"


@dataclass(frozen=True, kw_only=True)
class AccountExported(Event):
    name = "account.exported"


@dataclass(frozen=True, kw_only=True)
class EntityAdded(Event):
    """`by`, here and below: the account that did it; none for a command of staff."""

    name = "entity.added"
    entity: str
    by: str | None = None


@dataclass(frozen=True, kw_only=True)
class MemberAttached(Event):
    name = "member.attached"
    entity: str
    role: str
    by: str | None = None


@dataclass(frozen=True, kw_only=True)
class ClientAdded(Event):
    name = "client.added"


@dataclass(frozen=True, kw_only=True)
class ClientRemoved(Event):
    name = "client.removed"


@dataclass(frozen=True, kw_only=True)
class ClientSecretRotated(Event):
    name = "client.secret_rotated"


@dataclass(frozen=True, kw_only=True)
class LoginSucceeded(Event):
    name = "login.succeeded"
    method: str
    session: str


@dataclass(frozen=True, kw_only=True)
class LoginRefused(Event):
    """`cause` says exactly why: `wrong_password`, `blocked`, `throttled`, `certificate_revoked`, …"""

    name = "login.refused"
    method: str
    reference: str | None = None
    detail: str | None = None


@dataclass(frozen=True, kw_only=True)
class RequestRefused(Event):
    """A form or link was refused before anything was checked: stale, foreign browser, forged."""

    name = "request.refused"
    path: str


@dataclass(frozen=True, kw_only=True)
class SessionEnded(Event):
    """`cause`: `logout`, `replaced`, `reset`, `account` (ended on the account's own page)."""

    name = "session.ended"
    session: str


@dataclass(frozen=True, kw_only=True)
class PasswordResetAsked(Event):
    name = "password.reset_asked"


@dataclass(frozen=True, kw_only=True)
class PasswordChanged(Event):
    """`cause`: `reset`, `activation`, `account` (on the account's own page) or `command`."""

    name = "password.changed"


@dataclass(frozen=True, kw_only=True)
class ProfileChanged(Event):
    """`fields`: the names of what the person changed, never its values."""

    name = "profile.changed"
    fields: str


@dataclass(frozen=True, kw_only=True)
class ConsentGiven(Event):
    name = "consent.given"
    scopes: str


@dataclass(frozen=True, kw_only=True)
class ConsentRefused(Event):
    name = "consent.refused"


@dataclass(frozen=True, kw_only=True)
class ConsentWithdrawn(Event):
    name = "consent.withdrawn"


@dataclass(frozen=True, kw_only=True)
class CodeIssued(Event):
    name = "code.issued"
    grant: str
    scope: str


@dataclass(frozen=True, kw_only=True)
class TokensIssued(Event):
    """`cause`: the grant type."""

    name = "tokens.issued"
    grant: str


@dataclass(frozen=True, kw_only=True)
class GrantRevoked(Event):
    """`cause`: `code_replayed`, `refresh_replayed`, `logout`, `reset`, …"""

    name = "grant.revoked"
    grant: str


@dataclass(frozen=True, kw_only=True)
class KeyCreated(Event):
    name = "key.created"
    kid: str
    alg: str


@dataclass(frozen=True, kw_only=True)
class KeyActivated(Event):
    name = "key.activated"
    kid: str


@dataclass(frozen=True, kw_only=True)
class KeyRetired(Event):
    name = "key.retired"
    kid: str


@dataclass(frozen=True, kw_only=True)
class KeyGone(Event):
    name = "key.gone"
    kid: str


@dataclass(frozen=True, kw_only=True)
class AnchorAdded(Event):
    name = "anchor.added"
    anchor: str
    revocation: str


@dataclass(frozen=True, kw_only=True)
class CardEnrolled(Event):
    name = "card.enrolled"
    certificate: str


@dataclass(frozen=True, kw_only=True)
class EntityChanged(Event):
    """`fields`: the names of what was changed."""

    name = "entity.changed"
    entity: str
    fields: str
    by: str | None = None


@dataclass(frozen=True, kw_only=True)
class EntityVerified(Event):
    name = "entity.verified"
    entity: str


@dataclass(frozen=True, kw_only=True)
class EntityClosed(Event):
    """How many were detached, and how many requests cancelled."""

    name = "entity.closed"
    entity: str
    members: int
    requests: int
    by: str | None = None


@dataclass(frozen=True, kw_only=True)
class MemberDetached(Event):
    """`cause`: `detached`, `left` or `closed`."""

    name = "member.detached"
    entity: str
    by: str | None = None


@dataclass(frozen=True, kw_only=True)
class MemberSuspended(Event):
    name = "member.suspended"
    entity: str
    by: str | None = None


@dataclass(frozen=True, kw_only=True)
class MemberResumed(Event):
    name = "member.resumed"
    entity: str
    by: str | None = None


@dataclass(frozen=True, kw_only=True)
class MemberPromoted(Event):
    name = "member.promoted"
    entity: str
    by: str | None = None


@dataclass(frozen=True, kw_only=True)
class MemberDemoted(Event):
    name = "member.demoted"
    entity: str
    by: str | None = None


@dataclass(frozen=True, kw_only=True)
class JoinAsked(Event):
    name = "join.asked"
    entity: str
    request: str


@dataclass(frozen=True, kw_only=True)
class JoinAccepted(Event):
    name = "join.accepted"
    entity: str
    request: str
    by: str | None = None


@dataclass(frozen=True, kw_only=True)
class JoinRefused(Event):
    name = "join.refused"
    entity: str
    request: str
    by: str | None = None


@dataclass(frozen=True, kw_only=True)
class JoinCancelled(Event):
    """`cause`: `withdrawn`, `replaced`, `attached` or `entity_closed`."""

    name = "join.cancelled"
    entity: str
    request: str
    by: str | None = None


def plain(value: str | None) -> str | None:
    """Text from outside as one safe line: control and direction characters escaped, cut to 200 characters."""
    if value is None:
        return None
    return _CONTROL.sub(lambda m: f"\\u{ord(m.group()):04x}", value[: MAX_TEXT + 1])[:MAX_TEXT]


_COMMON = frozenset(f.name for f in fields(Event))
_INSERT = insert(JournalEntry)


def record(on: Executor, event: Event, at: int | None = None) -> None:
    """Write an event into the transaction that is open on `on`."""
    details = {k: plain(v) if isinstance(v, str) else v for k, v in asdict(event).items() if k not in _COMMON}
    on.execute(
        _INSERT,
        {
            "at": clock.now() if at is None else at,
            "event": event.name,
            "account": event.account,
            "client": plain(event.client),
            "address": plain(event.address),
            "cause": plain(event.cause),
            "details": json.dumps({k: v for k, v in details.items() if v is not None}, sort_keys=True),
        },
    )


@dataclass(frozen=True)
class Head:
    """The end of the chain: position and MAC of the last sealed entry."""

    seq: int
    mac: str


@dataclass(frozen=True)
class Verdict:
    """What `verify` found. `first_broken` is the position where the chain first fails, `events` how many are sealed."""

    ok: bool
    events: int
    first_broken: int | None = None
    reason: str | None = None


class Journal:
    """Seals and verifies the journal with one MAC key, keeping the last head in `head_file` (mode 0600)."""

    def __init__(self, database: Database, mac: Mac, head_file: Path) -> None:
        self._database, self._mac, self._head_file = database, mac, head_file

    def seal(self) -> int:
        """Chain what was written since; how many entries. Another sealer at the same moment is no error.

        When the database is behind the head outside it, nothing is sealed, so that a cut tail cannot be covered up.
        """
        kept = self._read_head()
        try:
            with self._database.begin() as c:
                last = self._last(c)
                if kept and not self._reaches(c, kept):
                    return 0
                rows, mac = [], last.mac
                for seq, entry in enumerate(self._unsealed(c), last.seq + 1):
                    mac = self._link(seq, mac, entry)
                    rows.append({"seq": seq, "entry_id": entry["id"], "mac": mac})
                if rows:
                    c.execute(insert(JournalSeal), rows)
                head = Head(rows[-1]["seq"], mac) if rows else last
        except IntegrityError:  # another sealer took the same position first
            return 0
        if head.seq and head != kept:
            self._write_head(head)
        return len(rows)

    def verify(self) -> Verdict:
        """Walk the chain and compare its end with the head outside the database."""
        kept = self._read_head()
        seq, mac = 0, FIRST
        with self._database.read() as c:
            total = c.execute(select(func.count()).select_from(JournalSeal)).scalar_one()
            if kept and kept.seq == _DAMAGED:
                return Verdict(False, total, None, f"the head file {self._head_file} is damaged")
            for row in c.execute(_CHAIN).mappings():
                if row["seq"] != seq + 1:
                    return Verdict(False, total, seq + 1, "a seal is missing")
                seq += 1
                if row["id"] is None:
                    return Verdict(False, total, seq, "an entry was removed")
                link = self._link(seq, mac, row)
                if not hmac.compare_digest(link, row["mac"]):
                    return Verdict(False, total, seq, "an entry was changed")
                mac = link
                if kept and kept.seq == seq and not hmac.compare_digest(kept.mac, mac):
                    return Verdict(False, total, seq, "the chain is not the one that the head file knows")
        if kept and kept.seq > seq:
            return Verdict(False, total, seq + 1, "the end of the journal was cut off")
        if seq and not kept:
            return Verdict(False, total, None, f"the head file {self._head_file} is missing: a cut end would not show")
        return Verdict(True, total)

    def _unsealed(self, c: Connection) -> list[dict[str, Any]]:
        if c.dialect.name == "postgresql":  # one sealer at a time; on SQLite the first INSERT takes the write lock
            c.execute(text("SELECT pg_advisory_xact_lock(7306080)"))
        missing = (
            select(*_ENTRY)
            .outerjoin(JournalSeal, _SEAL.entry_id == _ENTRY.id)
            .where(_SEAL.entry_id.is_(None))
            .order_by(_ENTRY.id)
            .limit(5000)
        )
        return [dict(row) for row in c.execute(missing).mappings()]

    def _link(self, seq: int, before: str, entry: Any) -> str:
        parts = (entry[name] for name in ("id", "at", "event", "account", "client", "address", "cause", "details"))
        # A missing value and an empty one must not give the same text.
        return self._mac.hex(str(seq), before, *("-" if p is None else f"={p}" for p in parts))

    @staticmethod
    def _last(c: Connection) -> Head:
        row = c.execute(select(_SEAL.seq, _SEAL.mac).order_by(_SEAL.seq.desc()).limit(1)).one_or_none()
        return Head(row.seq, row.mac) if row else Head(0, FIRST)

    @staticmethod
    def _reaches(c: Connection, head: Head) -> bool:
        mac = c.execute(select(_SEAL.mac).where(_SEAL.seq == head.seq)).scalar_one_or_none()
        return mac is not None and hmac.compare_digest(mac, head.mac)

    def _read_head(self) -> Head | None:
        try:
            seq, _, mac = self._head_file.read_text("ascii").strip().partition(" ")
            return Head(int(seq), mac)
        except FileNotFoundError:
            return None
        except ValueError:
            return Head(_DAMAGED, "")

    def _write_head(self, head: Head) -> None:
        self._head_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._head_file.with_name(f".{self._head_file.name}.{secrets.token_hex(4)}")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as f:
            f.write(f"{head.seq} {head.mac}\n")
            f.flush()
            os.fsync(f.fileno())
        known = self._read_head()
        if known and known.seq > head.seq:  # another sealer of this machine was faster
            draft.unlink()
        else:
            draft.replace(self._head_file)


_CHAIN = (
    select(_SEAL.seq, _SEAL.mac, *_ENTRY)
    .select_from(JournalSeal)
    .outerjoin(JournalEntry, _SEAL.entry_id == _ENTRY.id)
    .order_by(_SEAL.seq)
)


def entries(on: Executor, *, limit: int | None = None) -> Iterator[dict[str, Any]]:
    """The journal in order, oldest first (with `limit`: the last ones), as `idp journal show` prints it."""
    query = select(_SEAL.seq, *_ENTRY).outerjoin(JournalSeal, _SEAL.entry_id == _ENTRY.id).select_from(JournalEntry)
    rows = on.execute(query.order_by(_ENTRY.id.desc()).limit(limit)).mappings().all()
    for row in reversed(rows):
        yield {
            "seq": row["seq"],
            "at": clock.text(row["at"]),
            "event": row["event"],
            "account": row["account"],
            "client": row["client"],
            "address": row["address"],
            "cause": row["cause"],
            **json.loads(row["details"]),
        }

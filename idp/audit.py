"""What happens, as events: every kind a dataclass with a stable name, and `record()`, which writes it down.

A row is written in its cause's transaction and never changed. `idp.journal` chains the rows so that a change shows.
"""

import json
import re
from dataclasses import asdict, dataclass, fields
from typing import ClassVar

from sqlalchemy import insert

from idp import clock
from idp.db import Executor
from idp.models import JournalEntry

MAX_TEXT = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


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

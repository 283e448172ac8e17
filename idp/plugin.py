"""The desk: all that a plugin may import, and the object it is given.

A plugin touches its own tables only (`idp_<name>_*`, on `Base`), its own templates, and its `Desk`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.orm import Session, scoped_session

from idp import clock
from idp.audit import CardEnrolled, Event, record
from idp.db import Base, Counted, Executor, Instant, db, insert
from idp.errors import Conflict, Invalid, Misconfigured, NotFound, Refused, Unavailable
from idp.language import N_, Translator
from idp.login.method import (
    Attempt,
    Commands,
    Describes,
    Enrols,
    Keeps,
    Kind,
    LoginMethod,
    Means,
    Page,
    Proof,
    Readiness,
    Resets,
    Rule,
    Strength,
)
from idp.rules import PasswordRules, Rules
from idp.sealing import fingerprint, token
from idp.settings import Numbers, Section
from idp.trust.chain import CardCertificate


@dataclass(frozen=True)
class Person:
    """What a method may know about an account: who it is, for "not a part of your name" and for letters and tables."""

    account_id: str
    email: str
    given_name: str
    family_name: str


class VerifyCard(Protocol):
    """Check a login certificate at an instant against the office's anchors. Raises `Refused` with the exact cause."""

    def __call__(self, der: bytes, at: int) -> CardCertificate: ...


@dataclass(frozen=True)
class Desk:
    """What the house hands to a method.

    `origin` is the provider's own origin, from configuration. `session` is the ORM session of the request or command;
    the house commits it. `mac` keys a hash for one purpose, `seal` and `unseal` keep a value secret at rest under the name
    of the place that holds it (another name does not open it: `Unavailable`), `person` describes an account, `find` gives the id of the
    account with an e-mail address or None.
    """

    origin: str
    rules: Rules
    session: scoped_session[Session]
    mac: Callable[[str], bytes]
    seal: Callable[[bytes, str], bytes]
    unseal: Callable[[bytes, str], bytes]
    verify_card: VerifyCard
    person: Callable[[str], Person]
    find: Callable[[str], str | None]
    translator: Callable[[str], Translator]

    def record(self, event: Event) -> None:
        """Write an event into the open transaction."""
        record(self.session, event)


__all__ = [
    "N_",
    "Attempt",
    "Base",
    "CardCertificate",
    "CardEnrolled",
    "Commands",
    "Conflict",
    "Counted",
    "Describes",
    "Desk",
    "Enrols",
    "Event",
    "Executor",
    "Instant",
    "Invalid",
    "Keeps",
    "Kind",
    "LoginMethod",
    "Means",
    "Misconfigured",
    "NotFound",
    "Numbers",
    "Page",
    "PasswordRules",
    "Person",
    "Proof",
    "Readiness",
    "Refused",
    "Resets",
    "Rule",
    "Rules",
    "Section",
    "Strength",
    "Translator",
    "Unavailable",
    "VerifyCard",
    "clock",
    "db",
    "fingerprint",
    "insert",
    "record",
    "token",
]

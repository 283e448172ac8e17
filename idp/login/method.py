"""The agreement between the house and a login method.

A method asks a question (`challenge`) and checks an answer (`verify`). It returns a proof or raises `Refused`; the house
computes the level of assurance, keeps the session, counts failures, writes the journal and sends letters, so that a
method cannot forget them. Optional abilities are separate small Protocols.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import click
from sqlalchemy.orm import Session

from idp.language import Translator
from idp.rules import PasswordRules
from idp.settings import Section


class Kind(StrEnum):
    """What a factor rests on."""

    KNOWLEDGE = "knowledge"
    POSSESSION = "possession"


class Readiness(StrEnum):
    """Whether an account can use a method: not at all, after enrolment, or now."""

    UNAVAILABLE = "unavailable"
    AVAILABLE = "available"
    ENROLLED = "enrolled"


@dataclass(frozen=True)
class Strength:
    """What a proof of this method is worth.

    `amr` are the values of RFC 8176 that it contributes; `kinds` the kinds of factor. `finds_account`: the method finds
    out by itself who signs in (a card does). `asks_identifier`: its form has a field `email`, from which the house looks
    the account up and counts the guess (a password does). A method that does neither can only follow another.
    """

    amr: tuple[str, ...]
    kinds: frozenset[Kind]
    phishing_resistant: bool = False
    finds_account: bool = False
    asks_identifier: bool = False


@dataclass(frozen=True)
class Attempt:
    """What a method sees of a sign-in under way.

    `account_id` is the account that the house looked up from the form, or that a living session names; None when it is
    unknown: the method must then take as long as for a known one and refuse. `form` holds what the person sent.
    """

    id: str
    account_id: str | None
    language: str
    form: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """What to show: a template of the method, its values, and the loopback addresses that its script may call."""

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
    connect: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proof:
    """A method is satisfied that `account_id` is there. `credential` names which one was used (a certificate's hash)."""

    account_id: str
    credential: str | None = None


class LoginMethod(Protocol):
    """One way to sign in. Built once at start-up as `Method(settings, desk)`, used by many threads."""

    name: str
    title: str
    strength: Strength

    @property
    def Settings(self) -> type[Section]:  # noqa: N802  a class attribute: the section of the settings file
        """What the section `[<name>]` may say, checked before the method is built."""
        ...

    def ready_for(self, account_id: str) -> Readiness:
        """Whether this account can use the method."""
        ...

    def challenge(self, attempt: Attempt) -> Page:
        """The page that asks. Called anew for each showing."""
        ...

    def verify(self, attempt: Attempt) -> Proof:
        """Check the answer in `attempt.form`. Raises `Refused` with the exact cause."""
        ...


@dataclass(frozen=True)
class Rule:
    """One password rule in words for the person: an English text with named values, translated where it is shown.

    `met` is None while nothing was typed.
    """

    key: str
    sentence: str
    met: bool | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Resets(Protocol):
    """A method whose secret can be replaced through a mailed link."""

    def rules(self, account_id: str | None, secret: str | None = None) -> list[Rule]:
        """The rules that a new secret must meet, each with whether `secret` meets it."""
        ...

    def replace(self, account_id: str, secret: str) -> None:
        """Store a new secret for the account in the open transaction. Raises `Invalid` when a rule is not met."""
        ...


@dataclass(frozen=True)
class Means:
    """One means of identification that an account holds, in words for the person: its title, and facts about it."""

    title: str
    facts: tuple[tuple[str, str], ...]


@runtime_checkable
class Describes(Protocol):
    """A method that can tell what an account holds."""

    def describe(self, account_id: str, t: Translator) -> list[Means]:
        """What the account has enrolled, in the language of `t`."""
        ...


@runtime_checkable
class Enrols(Protocol):
    """A method whose means a person adds and removes herself. The house has asked who she is, journals and writes.

    `fields` names a template with the fields of an answer, to stand inside a form of the house; it is drawn with `new`
    where the answer puts new means into use.
    """

    fields: str

    def begin(self, account_id: str) -> Page:
        """Prepare new means; what the person has to see of it, this once. Raises `Conflict` when she has one in use."""
        ...

    def confirm(self, account_id: str, form: Mapping[str, str]) -> Page:
        """Put what was begun into use by a first answer; what she has to keep, shown this once. Raises `Refused`."""
        ...

    def remove(self, account_id: str) -> None:
        """Forget the means. Raises `NotFound`."""
        ...


@runtime_checkable
class Commands(Protocol):
    """A method that adds commands to `idp`."""

    def commands(self) -> list[click.Command]:
        """The commands or groups to add, usable inside the house's context."""
        ...


@runtime_checkable
class Purges(Protocol):
    """A method that keeps rows which are over some day."""

    def purge(self, now: int, session: Session) -> int:
        """Delete some hundred rows that are over at `now`, in the open transaction; how many. Called until it is none."""
        ...


@runtime_checkable
class Keeps(Protocol):
    """A method with tables of its own, all named `idp_<name>_…`."""

    migrations: Path


__all__ = [
    "Attempt",
    "Commands",
    "Describes",
    "Enrols",
    "Keeps",
    "Kind",
    "LoginMethod",
    "Means",
    "Page",
    "PasswordRules",
    "Proof",
    "Purges",
    "Readiness",
    "Resets",
    "Rule",
    "Strength",
]

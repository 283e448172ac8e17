"""What letters say. One function for each kind; a letter has one action, whose address is written out.

The texts are English; their French stands in `translations/fr.po` beside this file. What a person typed (a name) is
shown as `harmless` makes it, and never stands in a subject.
"""

import re
import unicodedata
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

from idp.language import Translator

MAX_NAME = 80

# A dot, colon, slash or at sign in front of a word is what makes mail programs turn text into a link.
_LINKING = re.compile(r"([.:@/\\．。｡․])(?=[^\W_]{2}|[/\\])")


class Person(Protocol):
    """Whom a letter greets: an account."""

    @property
    def given_name(self) -> str: ...
    @property
    def family_name(self) -> str: ...


@dataclass(frozen=True)
class Letter:
    """A letter before it is drawn: paragraphs, one action with its link, more paragraphs, in the language of `t`."""

    kind: str
    t: Translator
    subject: str
    greeting: str
    before: tuple[str, ...]
    action: str
    link: str
    after: tuple[str, ...]


def password_reset(t: Translator, person: Person, link: str, deadline: int) -> Letter:
    """Someone asked for a new password; `link` works once, until `deadline`."""
    return Letter(
        "password_reset",
        t,
        t("Choose a new password"),
        _greeting(t, person),
        (t("Someone, probably you, asked to choose a new password for your account."),),
        t("Choose my new password"),
        link,
        (_once(t, deadline), t("If you did not ask for it, do nothing: your password stays as it is.")),
    )


def account_blocked(t: Translator, person: Person, link: str) -> Letter:
    """Too many wrong passwords; `link` leads to the page where a new one can be asked for."""
    return Letter(
        "account_blocked",
        t,
        t("Your account is blocked"),
        _greeting(t, person),
        (
            t("Too many wrong passwords were given for your account. It is now blocked, so that nobody can go on."),
            t("With a new password your account opens again at once."),
        ),
        t("Ask for a new password"),
        link,
        (t("If you did not give these passwords, somebody else may have tried to enter your account: tell us."),),
    )


def password_changed(t: Translator, person: Person, link: str, at: int, address: str | None = None) -> Letter:
    """The password was changed at `at`, from the network address `address`; `link` leads to asking for a new one."""
    where = (
        (t("The change came from the network address %(address)s.", address=ip_address(address)),) if address else ()
    )
    return Letter(
        "password_changed",
        t,
        t("Your password was changed"),
        _greeting(t, person),
        (
            t("The password of your account was changed on %(when)s.", when=t.instant(at)),
            *where,
            t("If it was you, there is nothing to do."),
        ),
        t("It was not me: ask for a new password"),
        link,
        (t("If it was not you, tell us as well."),),
    )


def means_changed(
    t: Translator, person: Person, link: str, at: int, means: str, *, added: bool, address: str
) -> Letter:
    """A means of identification, `means`, was added or removed at `at`; `link` leads to asking for a new password."""
    said = (
        t(
            "A means of identification was added to your account on %(when)s: %(means)s.",
            when=t.instant(at),
            means=means,
        )
        if added
        else t(
            "A means of identification was removed from your account on %(when)s: %(means)s.",
            when=t.instant(at),
            means=means,
        )
    )
    return Letter(
        "means_changed",
        t,
        t("Your means of identification have changed"),
        _greeting(t, person),
        (
            said,
            t("The change came from the network address %(address)s.", address=ip_address(address)),
            t("If it was you, there is nothing to do."),
        ),
        t("It was not me: ask for a new password"),
        link,
        (t("If it was not you, tell us as well."),),
    )


def activation(t: Translator, person: Person, link: str, deadline: int) -> Letter:
    """An account was opened; `link` leads to choosing its password, once, until `deadline`."""
    return Letter(
        "activation",
        t,
        t("Activate your account"),
        _greeting(t, person),
        (t("An account was opened for you with this e-mail address. Choose its password to activate it."),),
        t("Activate my account"),
        link,
        (_once(t, deadline), t("If this letter is not meant for you, do nothing: the account will not be activated.")),
    )


def activation_reminder(t: Translator, person: Person, link: str, deadline: int) -> Letter:
    """The account waits and its `deadline` is near; `link` does what the one of the first letter does."""
    return Letter(
        "activation_reminder",
        t,
        t("Your account waits for its activation"),
        _greeting(t, person),
        (t("An account was opened for you with this e-mail address, and it has not been activated yet."),),
        t("Activate my account"),
        link,
        (_once(t, deadline), t("If this letter is not meant for you, do nothing: the account will not be activated.")),
    )


def join_asked(t: Translator, person: Person, asker: Person, entity: str, link: str, deadline: int) -> Letter:
    """To a manager: somebody asks to join the entity; `link` shows the request, which ends at `deadline`."""
    names = {"name": harmless(f"{asker.given_name} {asker.family_name}"), "entity": harmless(entity)}
    return Letter(
        "join_asked",
        t,
        t("Someone asks to join your company"),
        _greeting(t, person),
        (
            t("%(name)s asks to join %(entity)s as a collaborator.", **names),
            t("Accept only somebody whom you know. Whoever joins may see the files that your company shares."),
        ),
        t("See the request"),
        link,
        (
            t(
                "One manager decides for all. Without a decision the request ends on %(deadline)s.",
                deadline=t.instant(deadline),
            ),
        ),
    )


def join_accepted(t: Translator, person: Person, entity: str, link: str) -> Letter:
    """To whoever asked: a manager said yes; `link` shows the entity."""
    return Letter(
        "join_accepted",
        t,
        t("Your request to join a company was accepted"),
        _greeting(t, person),
        (t("You now belong to %(entity)s as a collaborator.", entity=harmless(entity)),),
        t("See my company"),
        link,
        (t("A portal where you are signed in already may learn of it only when you sign in again."),),
    )


def join_refused(t: Translator, person: Person, entity: str, link: str) -> Letter:
    """To whoever asked: a manager said no; `link` is where another can be asked."""
    return Letter(
        "join_refused",
        t,
        t("Your request to join a company was refused"),
        _greeting(t, person),
        (t("A manager of %(entity)s has refused your request.", entity=harmless(entity)),),
        t("See what I can do"),
        link,
        (t("If you think this is a mistake, speak to a manager of the company before you ask again."),),
    )


def entity_left(t: Translator, person: Person, entity: str, link: str, *, closed: bool) -> Letter:
    """To a member: a manager detached the account, or closed the entity."""
    named = {"entity": harmless(entity)}
    said = (
        t("A manager has closed the company account of %(entity)s. Every account was detached from it.", **named)
        if closed
        else t("A manager of %(entity)s has detached your account from it.", **named)
    )
    return Letter(
        "entity_left",
        t,
        t("Your account no longer belongs to a company"),
        _greeting(t, person),
        (said, t("You keep your account and act in your own name.")),
        t("See what I can do"),
        link,
        (t("If you think this is a mistake, speak to a manager of the company."),),
    )


def harmless(text: str) -> str:
    """What a person typed, as it may stand in a letter: one short line, no hidden or turning signs, no live link."""
    kept = "".join(_visible(sign) for sign in unicodedata.normalize("NFC", text[: 4 * MAX_NAME]))
    line = " ".join(_LINKING.sub(r"\1 ", kept).split())
    return line if len(line) <= MAX_NAME else line[: MAX_NAME - 1] + "…"


def _visible(sign: str) -> str:
    match unicodedata.category(sign):
        case "Cf" | "Cs" | "Co" | "Cn":  # direction overrides, zero-width signs, halves of signs, private ones
            return ""
        case "Cc" | "Zl" | "Zp":
            return " "
    return sign


def _greeting(t: Translator, person: Person) -> str:
    name = harmless(f"{person.given_name} {person.family_name}")
    return t("Hello %(name)s,", name=name) if name else t("Hello,")


def _once(t: Translator, deadline: int) -> str:
    return t("This link works once, until %(deadline)s.", deadline=t.instant(deadline))

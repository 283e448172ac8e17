"""Sign in with a smartcard: a Web eID token over the certificate of an enrolled card."""

from pathlib import Path

import click
from pydantic import Field, field_validator
from sqlalchemy.orm import Session

from idp.plugin import (
    N_,
    Attempt,
    Desk,
    Kind,
    LoginMethod,
    Means,
    Numbers,
    Page,
    Proof,
    Readiness,
    Section,
    Strength,
    Translator,
    clock,
)
from idp_smartcard import cards, commands, webeid
from idp_smartcard.challenges import Challenges
from idp_smartcard.tables import ACTIVE, REMOVED


class CardSettings(Section):
    """Section `[smartcard]`."""

    signer_ports: Numbers = Field((17171, 17172, 17173), description="loopback ports on which the signer is looked for")
    challenge_seconds: int = Field(300, gt=0, le=3600, description="time to choose a certificate and type the PIN")

    @field_validator("signer_ports")
    @classmethod
    def _ports(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or any(not 1 <= port <= 65535 for port in value):
            raise ValueError("must be one or more ports between 1 and 65535")
        return value


class Smartcard:
    """The login method `smartcard`. The card finds its account by itself; the PIN never leaves the person's machine."""

    name = "smartcard"
    title = N_("Smartcard")
    strength = Strength(
        amr=("sc", "hwk", "pin"),
        kinds=frozenset({Kind.POSSESSION, Kind.KNOWLEDGE}),
        phishing_resistant=True,
        finds_account=True,
    )
    Settings = CardSettings
    migrations = Path(__file__).with_name("migrations")

    def __init__(self, settings: CardSettings, desk: Desk) -> None:
        self._settings, self._desk = settings, desk
        self._challenges = Challenges(desk, settings.challenge_seconds)

    def ready_for(self, account_id: str) -> Readiness:
        now = clock.now()
        usable = any(c.state == ACTIVE and c.expires_at >= now for c in cards.of_account(self._desk, account_id))
        return Readiness.ENROLLED if usable else Readiness.AVAILABLE

    def challenge(self, attempt: Attempt) -> Page:
        ports = self._settings.signer_ports
        return Page(
            "smartcard/challenge.html",
            {
                "nonce": self._challenges.make(attempt.id),
                "ports": ports,
                "origin": self._desk.origin,
                "seconds": self._settings.challenge_seconds,
            },
            connect=tuple(f"http://127.0.0.1:{port}" for port in ports),
        )

    def verify(self, attempt: Attempt) -> Proof:
        """Check the token in the form. The challenge is spent first, so that a wrong proof cannot be tried again."""
        nonce = self._challenges.claim(attempt.id)
        token = webeid.read(attempt.form.get("token", ""))
        checked = self._desk.verify_card(token.certificate, clock.now())
        webeid.check(token, checked.public_key, self._desk.origin, nonce)
        card = cards.with_certificate(self._desk, checked.sha256)
        card.last_used_at = clock.now()
        return Proof(card.account_id, checked.sha256)

    def describe(self, account_id: str, t: Translator) -> list[Means]:
        return [cards.in_words(card, t) for card in cards.of_account(self._desk, account_id) if card.state != REMOVED]

    def purge(self, now: int, session: Session) -> int:
        return self._challenges.purge(now, session)

    def commands(self) -> list[click.Command]:
        return [commands.group(self._desk)]


_: type[LoginMethod] = Smartcard

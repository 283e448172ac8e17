"""An office with the card method in it, for tests: the method on a desk whose parts are real."""

from dataclasses import dataclass, replace

from idp_smartcard import CardSettings, Smartcard
from sqlalchemy.orm import Session, scoped_session

from idp.db import Database
from idp.journal import entries
from idp.login.method import Attempt
from idp.plugin import Desk
from services.authority import token

ORIGIN = "https://id.example"


@dataclass
class Office:
    """The method, its desk, and the moves of a person in front of it."""

    database: Database
    session: scoped_session[Session]
    desk: Desk
    method: Smartcard

    def nonce(self, attempt: str = "attempt-1") -> str:
        """The nonce on a freshly drawn page."""
        nonce: str = self.method.challenge(Attempt(attempt, None, "fr")).values["nonce"]
        self.session.commit()
        return nonce

    def answer(self, text: str, attempt: str = "attempt-1") -> str:
        """Post a token; whose account it proves."""
        proof = self.method.verify(Attempt(attempt, None, "fr", {"token": text}))
        self.session.commit()
        return proof.account_id

    def sign_in(self, certificate: bytes, attempt: str = "attempt-1") -> str:
        """A whole sign-in with the test card's key."""
        return self.answer(token(certificate, self.nonce(attempt), ORIGIN), attempt)

    def again(self, **changes: object) -> Smartcard:
        """The same method on another node."""
        return Smartcard(CardSettings(), replace(self.desk, **changes))  # type: ignore[arg-type]

    def journal(self) -> list[tuple[str, str | None, str | None]]:
        """Events of cards so far: name, account, cause."""
        with self.database.read() as on:
            return [(e["event"], e["account"], e["cause"]) for e in entries(on) if e["event"].startswith("card.")]

"""Challenges: one open question per attempt and purpose, good once, for a few minutes.

The nonce is an HMAC over a random seed, the attempt and the purpose. Only the seed is stored: whoever reads the
database learns no nonce, and a nonce of one attempt or purpose is none of another's.
"""

import base64
import hashlib
import hmac
from typing import Final

from sqlalchemy import delete, select, tuple_
from sqlalchemy.orm import Session

from idp.plugin import N_, Desk, Refused, clock, insert, token
from idp_smartcard.tables import Challenge

BATCH = 500
LOGIN: Final = "login"
TOO_LATE = N_("The time for this card sign-in has run out. Try again.")


class Challenges:
    """Makes and claims challenges that live `seconds`. Shared by all threads; the session is the request's."""

    def __init__(self, desk: Desk, seconds: int) -> None:
        self._desk, self._seconds = desk, seconds
        self._key = desk.mac("smartcard challenge")

    def make(self, attempt_id: str, purpose: str = LOGIN) -> str:
        """A fresh nonce of 44 characters; an earlier one of the same attempt and purpose is good for nothing now."""
        session, now = self._desk.session, clock.now()
        session.execute(delete(Challenge).where(Challenge.expires_at <= now))
        seed = token()
        fresh = {"seed": seed, "expires_at": now + self._seconds}
        session.execute(
            insert(session.get_bind().dialect, Challenge)
            .values(attempt_id=attempt_id, purpose=purpose, **fresh)
            .on_conflict_do_update(index_elements=["attempt_id", "purpose"], set_=fresh)
        )
        return self._nonce(seed, attempt_id, purpose)

    def claim(self, attempt_id: str, purpose: str = LOGIN) -> str:
        """Take the open nonce, once and for all: it is gone and committed, whatever becomes of the proof.

        Raises `Refused("challenge_unknown")` when there is none, it has expired or somebody else was faster.
        """
        session = self._desk.session
        seed = session.execute(
            delete(Challenge)
            .where(Challenge.attempt_id == attempt_id, Challenge.purpose == purpose, Challenge.expires_at > clock.now())
            .returning(Challenge.seed)
        ).scalar_one_or_none()
        session.commit()
        if seed is None:
            raise Refused("challenge_unknown", message=TOO_LATE)
        return self._nonce(seed, attempt_id, purpose)

    @staticmethod
    def purge(now: int, session: Session) -> int:
        """Delete up to `BATCH` challenges whose time is over; how many."""
        over = select(Challenge.attempt_id, Challenge.purpose).where(Challenge.expires_at <= now).limit(BATCH)
        found = session.execute(over).all()
        key = tuple_(Challenge.attempt_id, Challenge.purpose)
        session.execute(delete(Challenge).where(key.in_([tuple(row) for row in found]), Challenge.expires_at <= now))
        return len(found)

    def _nonce(self, seed: str, attempt_id: str, purpose: str) -> str:
        # A seed and a purpose hold no blank, so the three parts cannot run into one another.
        text = f"{seed} {purpose} {attempt_id}"
        return base64.b64encode(hmac.digest(self._key, text.encode(), hashlib.sha256)).decode()

"""What a process knows of the ring: the key set as bytes, the keys that verify, and which sign.

Kept in memory and read anew when the `versions` row "keys" has grown, which is looked at twice a second at most.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from sqlalchemy import select

from idp.db import Database
from idp.errors import Refused, Unavailable
from idp.keys import algorithms
from idp.keys.algorithms import PublicKey
from idp.models import SigningKey as Row
from idp.models import Version

RING = "keys"  # the name of the ring's row in `versions`

# The max-age of the key set's answer: for so long a portal may not know a key that was just published.
KEY_SET_SECONDS = 300
LOOK_EVERY = 0.5

_ROW = Row.__table__.c
_PUBLISHED = ("active", "next", "retired")
_NUMBER = select(Version.number).where(Version.name == RING)
_KEYS = select(_ROW.kid, _ROW.alg, _ROW.state, _ROW.public).where(_ROW.state.in_(_PUBLISHED)).order_by(_ROW.created_at)


@dataclass(frozen=True)
class VerifyingKey:
    """The public half of a key whose signatures count."""

    kid: str
    alg: str
    public: PublicKey

    def verify(self, message: bytes, signature: bytes) -> None:
        """Check a signature of this key. Raises `Refused("bad_signature")`."""
        algorithms.verify(self.alg, self.public, message, signature)


@dataclass(frozen=True)
class Seen:
    """The ring at one number: `active` gives the `kid` that signs with an algorithm."""

    number: int
    active: Mapping[str, str]
    verifying: Mapping[str, VerifyingKey]
    published: bytes


class Lookout:
    """Watches the ring for one process. Shared by its threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: Seen | None = None
        self._look_again = 0.0
        self._looking = threading.Lock()

    def seen(self, *, anew: bool = False) -> Seen:
        """The ring as it was at most half a second ago; with `anew`, as it is. Raises `Unavailable`."""
        seen = self._seen
        if seen and not anew and time.monotonic() < self._look_again:
            return seen
        # While one thread looks, the others go on with what they have.
        if not self._looking.acquire(blocking=anew or seen is None) and seen:
            return seen
        try:
            began = time.monotonic()
            self._seen = self._look()
            self._look_again = began + LOOK_EVERY
            return self._seen
        finally:
            self._looking.release()

    def forget(self) -> None:
        """Look again at the next question, since this process has changed the ring."""
        self._look_again = 0.0

    def find(self, kid: str) -> VerifyingKey:
        """A key whose signatures count. Raises `Refused("unknown_key")`."""
        key = self.seen().verifying.get(kid)
        if key is None:
            raise Refused("unknown_key")
        return key

    def published(self) -> bytes:
        """The key set; the last known one while the database does not answer."""
        try:
            return self.seen().published
        except Unavailable:
            if self._seen is None:
                raise
            return self._seen.published

    def _look(self) -> Seen:
        with self._database.read() as c:
            # The number first: keys that change between the two questions are read again next time.
            number = c.execute(_NUMBER).scalar() or 0
            if self._seen and self._seen.number == number:
                return self._seen
            rows = sorted(c.execute(_KEYS).all(), key=lambda row: _PUBLISHED.index(row.state))
        return Seen(
            number,
            {row.alg: row.kid for row in rows if row.state == "active"},
            {row.kid: VerifyingKey(row.kid, row.alg, algorithms.public_key(row.public)) for row in rows},
            orjson.dumps({"keys": [{**row.public, "use": "sig", "alg": row.alg, "kid": row.kid} for row in rows]}),
        )

"""The ring: the token-signing keys by state, and who signs now.

A key is *next* (published, does not sign yet), *active* (signs), *retired* (published, its signatures still count) and
*gone*. At most one key of an algorithm is active. Every change begins by counting the `versions` row "keys" up: that
row's lock puts changes in line on both engines, and its number tells every process to read the ring anew.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, null, select, update

from idp import clock
from idp.audit import KeyActivated, KeyCreated, KeyGone, KeyRetired, record
from idp.db import Database
from idp.db import insert as upsert
from idp.errors import Conflict, NotFound, Unavailable
from idp.keys import algorithms
from idp.keys.published import KEY_SET_SECONDS, RING, Lookout, VerifyingKey
from idp.keys.store import KeyStore, SigningKey
from idp.models import SigningKey as Row
from idp.models import Version

log = logging.getLogger(__name__)

FIRST_ALGORITHMS = ("RS256", "ES256")

# ID tokens, JWT access tokens and signed answers live five minutes by default; an hour covers clocks that differ, key
# sets kept too long and logout hints of sessions just over. An office with longer tokens gives a longer time.
RETIRED_SECONDS = 3600

_ROW = Row.__table__.c
# A key that its store just made is `gone` and was never retired: it is no part of the ring yet.
_IN_RING = (_ROW.state != "gone") | _ROW.retired_at.is_not(None)


@dataclass(frozen=True)
class Listed:
    """One key of the ring as commands and the console show it. Instants in Unix seconds."""

    kid: str
    alg: str
    store: str
    state: str
    created_at: int
    activated_at: int | None
    retired_at: int | None


class Ring:
    """The keys of one installation in one store. Shared by all threads of a process.

    `retired_seconds`: how long a retired key stays published, at least the longest life of what it signed.
    """

    def __init__(self, database: Database, store: KeyStore, retired_seconds: int = RETIRED_SECONDS) -> None:
        self._database, self._store, self._retired_seconds = database, store, retired_seconds
        self._lookout = Lookout(database)

    # -- asking ---------------------------------------------------------------------------------------------------

    def signing(self, alg: str) -> SigningKey:
        """The active key of exactly this algorithm. Raises `Unavailable("no_active_key")`, never gives another."""
        kid = self._lookout.seen().active.get(alg)
        if kid is None:
            raise Unavailable("no_active_key", alg)
        try:
            return self._store.open(kid)
        except Unavailable:
            # Another process may have revoked it within the last half second.
            if self._lookout.seen(anew=True).active.get(alg) in (kid, None):
                raise
            return self.signing(alg)

    def find(self, kid: str) -> VerifyingKey:
        """The public half of a key whose signatures count. Raises `Refused("unknown_key")`."""
        return self._lookout.find(kid)

    def published(self) -> bytes:
        """The key set (RFC 7517 §5) as JSON: public halves of next, active and retired keys.

        While the database does not answer, the last known set: portals keep theirs as long.
        """
        return self._lookout.published()

    def listed(self) -> list[Listed]:
        """Every key that ever was in the ring, oldest first."""
        columns = (getattr(_ROW, name) for name in Listed.__dataclass_fields__)
        with self._database.read() as c:
            rows = c.execute(select(*columns).where(_IN_RING).order_by(_ROW.created_at, _ROW.alg, _ROW.kid))
            return [Listed(*row) for row in rows]

    # -- changing -------------------------------------------------------------------------------------------------

    def first_start(self) -> None:
        """Make one active and one next key for each first algorithm, if the ring never had a key.

        Several processes may call this at once: one wins, and the others throw theirs away.
        """
        if self.listed():
            return
        try:
            with self._made([alg for alg in FIRST_ALGORITHMS for _ in range(2)]) as made, self._change() as c:
                if c.execute(select(func.count()).where(_IN_RING)).scalar_one():
                    raise _AlreadyStarted
                for key in made:
                    self._enter(c, key)
                for key in made[::2]:
                    _hand_over(c, key.alg, key.kid)
        except _AlreadyStarted:
            return

    def create(self, alg: str) -> str:
        """Make a next key; its `kid`."""
        with self._made([alg]) as (key,), self._change() as c:
            self._enter(c, key)
        return key.kid

    def rotate(self, alg: str | None = None, *, now: bool = False) -> None:
        """For one algorithm, or for all: the oldest next key signs, the active one retires, a new next key is made.

        Raises `Conflict` when there is no next key, or when it is younger than the key set's age (`KEY_SET_SECONDS`)
        and `now` does not insist: portals that keep the key set might not know it yet.
        """
        with self._database.read() as c:
            algs = [alg] if alg else _algorithms(c)
            for one in algs:
                _successor(c, one, now=now)
        with self._made(algs) as made, self._change() as c:
            for one in algs:
                _hand_over(c, one, _successor(c, one, now=now))
            for key in made:
                self._enter(c, key)

    def activate(self, kid: str, *, now: bool = False) -> None:
        """A next key signs from now on, and the active one of its algorithm retires. Raises `Conflict` as `rotate`."""
        with self._change() as c:
            row = _read(c, kid)
            if row.state != "next":
                raise Conflict("key_not_next", f"{kid} is {row.state}")
            _require_age(row, now=now)
            _hand_over(c, row.alg, kid)

    def retire(self, kid: str, *, now: bool = False) -> None:
        """A key stops signing and stays published. After an active one the next key signs, if there is one.

        Raises `Conflict` when the key is retired or gone already, or when the next key is too young and `now` does not
        insist. Without a next key the algorithm has no active key any more.
        """
        with self._change() as c:
            row = _read(c, kid)
            if row.state not in ("next", "active"):
                raise Conflict("key_not_in_use", f"{kid} is {row.state}")
            if row.state == "active" and _next(c, row.alg):
                _hand_over(c, row.alg, _successor(c, row.alg, now=now))
            else:
                _retire(c, kid)

    def revoke(self, kid: str) -> None:
        """A key is gone at once, with its private half: nothing that it signed counts any more.

        After an active one the next key signs, however young, and a new next key is made. May be repeated.
        """
        with self._change() as c:
            row = _read(c, kid)
            if row.state != "gone":
                _bury(c, kid, "revoked")
            successor = _next(c, row.alg) if row.state == "active" else None
            if successor:
                _hand_over(c, row.alg, successor.kid)
        if successor:
            try:
                self.create(row.alg)
            except Unavailable as e:
                log.warning("no new next key for %s: %s", row.alg, e)
        self._store.destroy(kid)

    def tidy(self) -> int:
        """Let go of keys that were retired long enough; how many."""
        over = (_ROW.state == "retired") & (_ROW.retired_at <= clock.now() - self._retired_seconds)
        with self._database.read() as c:
            kids = c.execute(select(_ROW.kid).where(over)).scalars().all()
        for kid in kids:
            # Erased first: a crash here leaves a key that is listed and verifies, which needs no private half.
            self._store.destroy(kid)
            with self._change() as c:
                if _read(c, kid).state == "retired":
                    _bury(c, kid, "retired")
        return len(kids)

    # -- inside ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _change(self) -> Iterator[Connection]:
        """One change of the ring at a time, in all processes."""
        with self._database.begin() as c:
            # `number` of the row itself, not of the row that was to be inserted.
            bump = upsert(c.dialect, Version).values(name=RING, number=1)
            c.execute(bump.on_conflict_do_update(index_elements=["name"], set_={"number": Version.number + 1}))
            yield c
        self._lookout.forget()

    @contextmanager
    def _made(self, algs: Sequence[str]) -> Iterator[list[SigningKey]]:
        """Fresh keys, made before the transaction since that takes long, thrown away when it does not come about."""
        made: list[SigningKey] = []
        try:
            for alg in algs:
                made.append(self._store.create(alg))  # noqa: PERF401  what was made must be known when one fails
            yield made
        except BaseException:
            self._throw_away([key.kid for key in made])
            raise

    def _throw_away(self, kids: list[str]) -> None:
        try:
            with self._database.read() as c:
                # A commit whose answer was lost may have taken place.
                kept = set(c.execute(select(_ROW.kid).where(_ROW.kid.in_(kids), _IN_RING)).scalars())
            unused = [kid for kid in kids if kid not in kept]
            for kid in unused:
                self._store.destroy(kid)
            with self._database.begin() as c:
                c.execute(delete(Row).where(_ROW.kid.in_(unused), ~_IN_RING))
        except Unavailable as e:
            log.warning("unused keys remain in the store %s: %s", self._store.name, e)

    def _enter(self, c: Connection, key: SigningKey) -> None:
        """A key that its store made becomes *next*."""
        row: dict[str, Any] = {"state": "next", "created_at": clock.now()}
        fresh = upsert(c.dialect, Row).values(
            kid=key.kid, alg=key.alg, store=self._store.name, public=algorithms.jwk(key.public_key()), **row
        )
        c.execute(fresh.on_conflict_do_update(index_elements=["kid"], set_=row))
        record(c, KeyCreated(kid=key.kid, alg=key.alg))


class _AlreadyStarted(Exception):
    """Another process made the first keys."""


def _read(c: Connection, kid: str) -> Any:
    row = c.execute(select(_ROW.kid, _ROW.alg, _ROW.state, _ROW.created_at).where(_ROW.kid == kid, _IN_RING))
    found = row.one_or_none()
    if found is None:
        raise NotFound("key_unknown", kid)
    return found


def _algorithms(c: Connection) -> list[str]:
    in_use = select(_ROW.alg).where(_ROW.state.in_(("next", "active"))).distinct().order_by(_ROW.alg)
    return list(c.execute(in_use).scalars())


def _next(c: Connection, alg: str) -> Any:
    """The next key that has been published longest, or None."""
    query = select(_ROW.kid, _ROW.created_at).where(_ROW.alg == alg, _ROW.state == "next")
    return c.execute(query.order_by(_ROW.created_at, _ROW.kid).limit(1)).one_or_none()


def _successor(c: Connection, alg: str, *, now: bool) -> str:
    row = _next(c, alg)
    if row is None:
        raise Conflict("no_next_key", f"{alg}; run: idp key create --alg {alg}")
    _require_age(row, now=now)
    return str(row.kid)


def _require_age(row: Any, *, now: bool) -> None:
    age = clock.now() - row.created_at
    if age < KEY_SET_SECONDS and not now:
        raise Conflict(
            "next_key_too_young", f"{row.kid} is {age} s old, portals may not know it before {KEY_SET_SECONDS} s; --now"
        )


def _hand_over(c: Connection, alg: str, kid: str) -> None:
    """A next key becomes the one active key of its algorithm."""
    for old in c.execute(select(_ROW.kid).where(_ROW.alg == alg, _ROW.state == "active")).scalars().all():
        _retire(c, old)
    c.execute(update(Row).where(_ROW.kid == kid).values(state="active", activated_at=clock.now()))
    record(c, KeyActivated(kid=kid))


def _retire(c: Connection, kid: str) -> None:
    c.execute(update(Row).where(_ROW.kid == kid).values(state="retired", retired_at=clock.now()))
    record(c, KeyRetired(kid=kid))


def _bury(c: Connection, kid: str, cause: str) -> None:
    # The sealed half goes in the same transaction; a store that keeps it elsewhere erases it afterwards.
    ended = func.coalesce(_ROW.retired_at, clock.now())
    c.execute(update(Row).where(_ROW.kid == kid).values(state="gone", retired_at=ended, sealed=null()))
    record(c, KeyGone(kid=kid, cause=cause))

"""Counting wrong answers exactly: a place is reserved before each check, so that parallel guesses cannot overshoot.

Two counts for each guess: one for the account (or for an identifier that no account has), which blocks until a reset or
a command; one for the network address, which is full for the rest of its ten minutes. One conditional statement takes a
place in each; `failed + pending` never exceeds the maximum.
"""

import secrets
import time
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, insert, literal, null, select, update

from idp import clock
from idp.audit import AccountBlocked, AccountUnblocked, record
from idp.db import Database, Executor, Instant, dialect_of
from idp.db import insert as upsert
from idp.errors import Blocked, Throttled
from idp.models import Guess, GuessCount
from idp.sealing import Mac

ADDRESS_WINDOW = 600
LETTERS, LETTER_WINDOW = 10, 3600  # letters that one address may make leave, and in how many seconds
LOST_AFTER = 60
WAIT_SECONDS = 1.0
FORGET_SECONDS = 86400  # counts of unknown identifiers and of addresses that were quiet for so long
_NO_LIMIT = 1 << 30
_COUNTS: Any = GuessCount.__table__
_COUNT = GuessCount.__table__.c


@dataclass(frozen=True)
class Reservation:
    """A place taken for one check. Exactly one of `failed`, `succeeded`, `given_back` ends it."""

    id: str
    account_key: str
    address_key: str
    account_id: str | None


@dataclass(frozen=True)
class Count:
    """What is stored for an account. `newly_blocked`: the failure just counted was the last one allowed."""

    failed: int
    blocked: bool
    newly_blocked: bool = False


class Lockout:
    """The counts of one installation: at most `max_attempts` wrong answers for an account, `address_failures` for an address."""

    def __init__(self, database: Database, mac: Mac, max_attempts: int, address_failures: int) -> None:
        self._database, self._mac = database, mac
        self._max = max_attempts
        self._address_max = address_failures or _NO_LIMIT

    def account_key(self, account_id: str) -> str:
        """The key of an account's count."""
        return self._mac.hex("account", account_id)

    def unknown_key(self, identifier_key: str) -> str:
        """The key of the count for an identifier that no account has, so that it is blocked alike."""
        return self._mac.hex("unknown", identifier_key)

    def address_key(self, address: str) -> str:
        """The key of an address: one IPv4 address, or a whole IPv6 /64; mapped IPv4 is IPv4."""
        ip = ip_address(address)
        if isinstance(ip, IPv6Address):
            ip = ip.ipv4_mapped or ip
        return self._mac.hex("address", str(ip if ip.version == 4 else ip_network((ip, 64), strict=False)))

    def reserve(self, address: str, account_id: str | None, identifier_key: str | None) -> Reservation:
        """Take a place for one check, before it.

        `account_id` is the account that is guessed at, else `identifier_key` an identifier nobody has; with neither
        only the address is counted (a card names its account by itself). Raises `Blocked`, `Throttled`, or
        `Unavailable` when no place came free within a second or nothing can be written.
        """
        account_key = ""
        if account_id is not None or identifier_key is not None:
            account_key = self.account_key(account_id) if account_id else self.unknown_key(identifier_key or "")
        taken = Reservation(secrets.token_hex(16), account_key, self.address_key(address), account_id)
        end = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                self._take(taken)
                return taken
            except _Busy:
                # Checks in progress hold the last places: they may yet succeed, so nobody is told "blocked".
                if time.monotonic() > end:
                    raise Throttled("busy", 1) from None
                time.sleep(0.05)

    def failed(self, on: Executor, taken: Reservation) -> Count:
        """The check failed: count it in the open transaction. `blocked` in the answer says that it was the last one."""
        now = clock.now()
        if not self._end(on, taken):
            # The sweep counted this check as lost a moment ago.
            return self._read(on, taken.account_key)
        _execute(on, _FAIL, key=taken.address_key, now=now, max=_NO_LIMIT)
        if not taken.account_key:
            return Count(0, False)
        before = self._read(on, taken.account_key)
        _execute(on, _FAIL, key=taken.account_key, now=now, max=self._max)
        after = self._read(on, taken.account_key)
        newly = after.blocked and not before.blocked
        if newly and taken.account_id:
            record(on, AccountBlocked(account=taken.account_id))
        return replace(after, newly_blocked=newly)

    def succeeded(self, on: Executor, taken: Reservation) -> None:
        """The check succeeded: the account's count starts anew. Raises `Blocked` when it was blocked meanwhile."""
        self._give_back(on, taken)
        if taken.account_key:
            cleared = _execute(on, _CLEAR, key=taken.account_key, now=clock.now())
            if not cleared:
                raise Blocked("blocked", account_id=taken.account_id)

    def given_back(self, on: Executor, taken: Reservation) -> None:
        """The check did not take place: the places are free again and nothing is counted."""
        self._give_back(on, taken)

    def unblock(self, on: Executor, account_id: str, cause: str) -> None:
        """Clear an account's failures and its block."""
        _execute(on, _UNBLOCK, key=self.account_key(account_id), now=clock.now())
        record(on, AccountUnblocked(account=account_id, cause=cause))

    def forget(self, on: Executor, account_id: str) -> None:
        """Drop the count of an account that is erased."""
        on.execute(delete(GuessCount).where(_COUNT.key == self.account_key(account_id)))

    def letter(self, on: Executor, address: str) -> None:
        """Count a letter that somebody at this address makes leave, in the open transaction.

        Raises `Throttled` when `LETTERS` have left within an hour. Wrong answers are counted elsewhere.
        """
        if self._address_max == _NO_LIMIT:
            return
        now, key = clock.now(), self._mac.hex("letters", self.address_key(address))
        over = _COUNT.since <= literal(now - LETTER_WINDOW, Instant)
        again = {
            "failed": case((over, 1), else_=_COUNT.failed + 1),
            "since": case((over, literal(now, Instant)), else_=_COUNT.since),
            "changed_at": now,
        }
        statement = (
            upsert(dialect_of(on), GuessCount)
            .values(key=key, kind="address", failed=1, pending=0, since=now, changed_at=now)
            .on_conflict_do_update(index_elements=["key"], set_=again, where=over | (_COUNT.failed < LETTERS))
            .returning(_COUNT.key)
        )
        if on.execute(statement).scalar() is None:
            raise Throttled("letters_throttled", LETTER_WINDOW)

    def count(self, on: Executor, account_id: str) -> Count:
        """The failures of an account since its last success, and whether it is blocked."""
        return self._read(on, self.account_key(account_id))

    def sweep(self) -> int:
        """Count as failed what began more than a minute ago and never ended (a killed worker); how many.

        Forgets what was counted for nobody a day ago.
        """
        if not self._stale():
            return 0
        with self._database.begin() as c:
            lost = c.execute(
                delete(Guess).where(Guess.started_at < clock.now() - LOST_AFTER).returning(*Guess.__table__.c)
            ).all()
            for column, limit in (("address_key", _NO_LIMIT), ("account_key", self._max)):
                for key in sorted(filter(None, (getattr(row, column) for row in lost))):
                    _execute(c, _FAIL, key=key, now=clock.now(), max=limit)
            c.execute(_FORGET, {"before": clock.now() - FORGET_SECONDS})
        return len(lost)

    def _stale(self) -> bool:
        """Whether there is anything to sweep: looked at first, so that a quiet second takes no write lock."""
        now = clock.now()
        with self._database.read() as c:
            lost = c.execute(select(Guess.id).where(Guess.started_at < now - LOST_AFTER).limit(1)).first()
            return lost is not None or c.execute(_FORGETTABLE, {"before": now - FORGET_SECONDS}).first() is not None

    def _take(self, taken: Reservation) -> None:
        now, kind = clock.now(), "account" if taken.account_id else "unknown"
        with self._database.begin() as c:
            if not _reserve(c, taken.address_key, "address", self._address_max, ADDRESS_WINDOW, now):
                row = c.execute(select(_COUNT.failed, _COUNT.since).where(_COUNT.key == taken.address_key)).one()
                if row.failed >= self._address_max:
                    raise Throttled("throttled", row.since + ADDRESS_WINDOW - now)
                raise _Busy
            if taken.account_key and not _reserve(c, taken.account_key, kind, self._max, 0, now):
                if self._read(c, taken.account_key).blocked:
                    raise Blocked("blocked", account_id=taken.account_id)
                raise _Busy
            c.execute(
                insert(Guess),
                {
                    "id": taken.id,
                    "account_key": taken.account_key,
                    "address_key": taken.address_key,
                    "started_at": now,
                },
            )

    def _give_back(self, on: Executor, taken: Reservation) -> None:
        if self._end(on, taken):
            # Like everywhere here the address comes first: two transactions never wait for one another in a ring.
            for key in filter(None, (taken.address_key, taken.account_key)):
                _execute(on, _RETURN, key=key, now=clock.now())

    @staticmethod
    def _end(on: Executor, taken: Reservation) -> bool:
        return bool(on.execute(delete(Guess).where(Guess.id == taken.id).returning(Guess.id)).scalar())

    def _read(self, on: Executor, key: str) -> Count:
        row = on.execute(select(_COUNT.failed, _COUNT.blocked_at).where(_COUNT.key == key)).one_or_none()
        # A maximum that was lowered since blocks without a further wrong answer.
        return Count(row.failed, row.blocked_at is not None or row.failed >= self._max) if row else Count(0, False)


class _Busy(Exception):
    """Every place that is left is held by a check in progress."""


def _execute(on: Executor, statement: Any, *, key: str, **values: Any) -> int:
    result: Any = on.execute(statement, {"counted": key, **values})
    return int(result.rowcount)


def _reserve(c: Connection, key: str, kind: str, limit: int, window: int, now: int) -> bool:
    """One conditional statement; both engines judge the condition on the newest version of the row."""
    table = upsert(c.dialect, GuessCount)
    failed: Any = _COUNT.failed
    since: Any = _COUNT.since
    if window:
        # An address starts anew when its window is over; checks in progress stay counted in `pending`.
        over = _COUNT.since <= literal(now - window, Instant)
        failed, since = case((over, 0), else_=_COUNT.failed), case((over, literal(now, Instant)), else_=_COUNT.since)
    statement = (
        table.values(key=key, kind=kind, failed=0, pending=1, since=now, changed_at=now)
        .on_conflict_do_update(
            index_elements=["key"],
            set_={"failed": failed, "since": since, "pending": _COUNT.pending + 1, "changed_at": now},
            where=_COUNT.blocked_at.is_(None) & (failed + _COUNT.pending < limit),
        )
        .returning(_COUNT.key)
    )
    return c.execute(statement).scalar() is not None


def _fewer() -> Any:
    return case((_COUNT.pending > 0, _COUNT.pending - 1), else_=0)


_FAIL = (
    update(_COUNTS)
    .where(_COUNT.key == bindparam("counted"))
    .values(
        pending=_fewer(),
        failed=_COUNT.failed + 1,
        changed_at=bindparam("now"),
        blocked_at=case((_COUNT.failed + 1 >= bindparam("max"), bindparam("now")), else_=_COUNT.blocked_at),
    )
)
_RETURN = (
    update(_COUNTS).where(_COUNT.key == bindparam("counted")).values(pending=_fewer(), changed_at=bindparam("now"))
)
_CLEAR = (
    update(_COUNTS)
    .where(_COUNT.key == bindparam("counted"), _COUNT.blocked_at.is_(None))
    .values(failed=0, changed_at=bindparam("now"))
)
_QUIET = (_COUNT.kind != "account") & (_COUNT.changed_at < bindparam("before")) & (_COUNT.pending == 0)
_FORGET = delete(GuessCount).where(_QUIET)
_FORGETTABLE = select(_COUNT.key).where(_QUIET).limit(1)
_UNBLOCK = (
    update(_COUNTS)
    .where(_COUNT.key == bindparam("counted"))
    .values(failed=0, blocked_at=null(), changed_at=bindparam("now"))
)

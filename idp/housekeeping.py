"""Housekeeping: what is over goes away, and accounts that nobody activated.

One function for each kind. Each may be run at any time, by several processes at once, and goes in small batches, so that
no write lock is held long. Nothing relies on it: whatever is over is refused before its row is gone.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session as OrmSession

from idp import clock
from idp.db import Database
from idp.directory import accounts, personal_data
from idp.directory.links import ACTIVATION
from idp.errors import Conflict, NotFound
from idp.login.lockout import Lockout
from idp.login.method import Purges
from idp.login.registry import Methods
from idp.models import Account, Attempt, Grant, JoinRequest, Letter, Link, Session, Token
from idp.post.outbox import GIVE_UP_SECONDS
from idp.rules import ActivationRules

HOUR, DAY = 3600, 86400
ENDED_DAYS, ENDED_SESSION_DAYS, USED_LINK_DAYS, LETTER_DAYS = 1, 30, 7, 30
BATCH = 500
REMINDER = "activation_reminder"
CAUSE = "activation_deadline"

Remind = Callable[[OrmSession, Account, int], None]


class Housekeeping:
    """The housekeeping of one installation. `remind` writes the letter that recalls the deadline of an activation."""

    def __init__(
        self, database: Database, rules: ActivationRules, methods: Methods, lockout: Lockout, remind: Remind
    ) -> None:
        self._database, self._rules, self._methods, self._lockout = database, rules, methods, lockout
        self._remind = remind
        self._lock, self._next = threading.Lock(), 0

    def hourly(self) -> None:
        """Run once an hour in this process; called as often as one likes."""
        now = clock.now()
        with self._lock:
            if now >= self._next:
                self.run(now)
                self._next = now + HOUR

    def run(self, now: int) -> dict[str, int]:
        """Everything there is to do at `now`: how many rows of each kind, of the house and of its methods."""
        done = {
            "reminders": self._reminders(now),
            "accounts": self._accounts(now),
            "join_requests": self._join_requests(now),
            "attempts": self._drop(Attempt.id, _attempts(now)),
            "sessions": self._drop(Session.id, _sessions(now)),
            "tokens": self._drop(Token.hash, _tokens(now)),
            "grants": self._drop(Grant.id, _grants(now)),
            "links": self._drop(Link.hash, _links(now)),
            "letters": self._drop(Letter.id, _letters(now)),
        }
        return {**done, **{name: self._method(m, now) for name, m in self._methods.items() if isinstance(m, Purges)}}

    def _drop(self, key: Any, due: Any) -> int:
        """Delete the rows that are due."""
        return self._change(key, due, delete(key.class_))

    def _change(self, key: Any, due: Any, statement: Any) -> int:
        """Do it to the rows that are due, batch by batch, passing over those that somebody else holds; how many."""
        count = 0
        for ids in self._batches(key, due):
            free = select(key).where(key.in_(ids), due).order_by(key).with_for_update(skip_locked=True).correlate(None)
            with self._database.begin() as c:
                count += c.execute(statement.where(key.in_(free))).rowcount
        return count

    def _accounts(self, now: int) -> int:
        """Accounts whose activation deadline has passed: deleted or disabled as the house rules say, each journaled."""
        if self._rules.on_expiry == "keep":
            return 0
        due, count = _unactivated(now, self._rules.deadline_days), 0
        for account_id in chain.from_iterable(self._batches(Account.id, due)):
            try:
                with self._session() as on:
                    if self._rules.on_expiry == "delete":
                        personal_data.erase(on, account_id, CAUSE, only=due)
                        self._lockout.forget(on, account_id)
                    elif _held(on, account_id, due):
                        accounts.disable(on, account_id, CAUSE)
            except (NotFound, Conflict):
                continue  # activated or deleted a moment ago, or the only manager of others: that is for staff to decide
            count += 1
        return count

    def _reminders(self, now: int) -> int:
        """One letter for each account that is still pending some days before its deadline."""
        if not self._rules.reminder_days:
            return 0
        count = 0
        living = (Link.purpose == ACTIVATION) & Link.used_at.is_(None) & (Link.expires_at > now)
        deadline = func.max(Link.expires_at)
        due = (
            select(Account.id, deadline)
            .join(Link, Link.account_id == Account.id)
            .where(Account.state == "pending", living, ~_reminded())
            .group_by(Account.id)
            .having(deadline <= now + self._rules.reminder_days * DAY)
        )
        with self._database.read() as c:
            found = c.execute(due).all()
        for account_id, until in found:
            with self._session() as on:
                # Held first and looked at then: of two processes the second one sees the letter of the first.
                if not _held(on, account_id, Account.state == "pending"):
                    continue
                account = on.execute(select(Account).where(Account.id == account_id, ~_reminded())).unique().scalar()
                if account is None:
                    continue
                self._remind(on, account, until)
            count += 1
        return count

    def _join_requests(self, now: int) -> int:
        """Requests past their date, which nobody could accept any more, are marked so."""
        due = (JoinRequest.state == "pending") & (JoinRequest.expires_at <= now)
        return self._change(JoinRequest.id, due, update(JoinRequest).values(state="expired"))

    def _method(self, method: Purges, now: int) -> int:
        count = 0
        while True:
            with self._session() as on:
                gone = method.purge(now, on)
            count += gone
            if not gone:
                return count

    def _batches(self, key: Any, due: Any) -> Iterator[list[str]]:
        """The keys of the rows that are due, in order, each looked at once. Reading them takes no write lock."""
        last = ""
        while True:
            with self._database.read() as c:
                found = list(c.execute(select(key).where(due, key > last).order_by(key).limit(BATCH)).scalars())
            if not found:
                return
            yield found
            last = found[-1]

    @contextmanager
    def _session(self) -> Iterator[OrmSession]:
        """A transaction of its own, as functions of the directory and methods want it."""
        with self._database.begin() as c, OrmSession(c) as on:
            yield on
            on.flush()


def _held(on: OrmSession, account_id: str, condition: Any) -> bool:
    """Keep an account as it is until the transaction ends; False when the condition holds no longer."""
    held = update(Account).where(Account.id == account_id, condition).values(epoch=Account.epoch).returning(Account.id)
    return on.execute(held.execution_options(synchronize_session=False)).scalar() is not None


def _reminded() -> Any:
    return select(Letter.id).where(Letter.account_id == Account.id, Letter.kind == REMINDER).exists()


def _unactivated(now: int, days: int) -> Any:
    """Pending accounts of a certain age without a living link; a later letter gives more time."""
    living = (Link.purpose == ACTIVATION) & Link.used_at.is_(None) & (Link.expires_at > now)
    link = select(Link.hash).where(Link.account_id == Account.id, living).exists()
    return (Account.state == "pending") & (Account.created_at <= now - days * DAY) & ~link


def _attempts(now: int) -> Any:
    return Attempt.expires_at <= now - ENDED_DAYS * DAY


def _sessions(now: int) -> Any:
    before = now - ENDED_SESSION_DAYS * DAY
    return (Session.ended_at <= before) | (Session.expires_at <= before)


def _tokens(now: int) -> Any:
    """Used generations of a refresh token stay until their family's end, so that a replay is still recognised."""
    before = now - ENDED_DAYS * DAY
    family_over = select(Grant.id).where(Grant.id == Token.grant_id, Grant.expires_at <= before).exists()
    return (Token.expires_at <= before) & ((Token.kind == "access") | Token.used_at.is_(None) | family_over)


def _grants(now: int) -> Any:
    """A family with its code, once nothing of it lives; its tokens have gone before it, in batches of their own."""
    before = now - ENDED_DAYS * DAY
    living = select(Token.hash).where(Token.grant_id == Grant.id, Token.expires_at > before).exists()
    return (Grant.expires_at <= before) & ~living


def _links(now: int) -> Any:
    before = now - USED_LINK_DAYS * DAY
    return (Link.used_at <= before) | (Link.expires_at <= before)


def _letters(now: int) -> Any:
    """Delivered or given up long ago. A reminder stays while its account waits, so that no second one leaves."""
    before = now - LETTER_DAYS * DAY
    given_up = Letter.delivered_at.is_(None) & Letter.next_try_at.is_(None)
    waiting = select(Account.id).where(Account.id == Letter.account_id, Account.state == "pending").exists()
    over = (Letter.delivered_at <= before) | (given_up & (Letter.created_at <= before - GIVE_UP_SECONDS))
    return over & ~((Letter.kind == REMINDER) & waiting)

"""Sign-ins under way: stored on the server, bound to the browser that began them, moved forward step by step.

The browser carries the attempt's id with a MAC over the step, and a cookie whose hash the attempt knows: a link for one
step is useless for another, and in another browser it is refused.
"""

import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from idp import clock
from idp.audit import LoginRefused, record
from idp.db import Database, Executor, orm
from idp.errors import Blocked, Invalid, Refused, Stale, Throttled
from idp.language import N_
from idp.login import method as agreement
from idp.login.assurance import Proven
from idp.login.lockout import Lockout, Reservation
from idp.login.method import LoginMethod
from idp.models import Account, Attempt
from idp.sealing import Mac, fingerprint

MAX_IDENTIFIER = 254
_ROW = Attempt.__table__.c


@dataclass(frozen=True)
class Pending:
    """A stored attempt as read: the portal's request (None when a page of ours asked), and what was proven so far."""

    id: str
    client_id: str | None
    request: Mapping[str, Any] | None
    account_id: str | None
    epoch: int | None
    proofs: tuple[Proven, ...]
    session_id: str | None
    consented: bool


class Attempts:
    """The attempts of an installation, living `seconds` each."""

    def __init__(self, database: Database, mac: Mac, seconds: int) -> None:
        self._database, self._mac, self._seconds = database, mac, seconds

    def begin(self, browser: str, client_id: str | None, request: Mapping[str, Any] | None) -> str:
        """Store a new attempt for the browser with that cookie; its id. Raises `Stale` when the client is gone."""
        attempt_id, now = secrets.token_hex(16), clock.now()
        row: dict[str, Any] = {
            "id": attempt_id,
            "browser_hash": fingerprint(browser),
            "client_id": client_id,
            "request": request,
            "account_id": None,
            "proofs": [],
            "consented": False,
            "created_at": now,
            "expires_at": now + self._seconds,
        }
        try:
            with self._database.begin() as c:
                c.execute(insert(Attempt), row)
        except IntegrityError as e:
            raise Stale("client_removed") from e  # a moment ago, by another process
        return attempt_id

    def ticket(self, attempt_id: str, step: str) -> str:
        """What the browser carries for one step."""
        return f"{attempt_id}.{self._mac.hex(attempt_id, step)[:32]}"

    def load(self, ticket: str, step: str, browser: str | None) -> Pending:
        """The attempt of a ticket, for its step, in the browser that began it. Raises `Stale` for anything else."""
        attempt_id = ticket.partition(".")[0]
        if not hmac.compare_digest(ticket.encode(), self.ticket(attempt_id, step).encode()):
            raise Stale("ticket_invalid")
        with self._database.read() as c:
            row = c.execute(_LOAD, {"id": attempt_id}).one_or_none()
        if row is None or row.finished_at is not None:
            raise Stale("attempt_over")
        if clock.now() >= row.expires_at:
            raise Stale("attempt_expired")
        if browser is None or not hmac.compare_digest(row.browser_hash, fingerprint(browser)):
            raise Stale("attempt_of_another_browser")
        return _pending(row)

    def unfinished(self, browser: str) -> Pending | None:
        """The latest attempt for a portal that this browser began and did not end, or None: a way back to it."""
        with self._database.read() as c:
            row = c.execute(_LATEST, {"browser": fingerprint(browser), "now": clock.now()}).one_or_none()
        return _pending(row) if row else None

    def proven(self, on: Executor, pending: Pending, verified: "Verified") -> Pending:
        """Note one more proof. Raises `Stale` when the attempt ended meanwhile."""
        proofs = (*pending.proofs, verified.proof)
        epoch = verified.epoch if pending.epoch is None else pending.epoch
        values = {"account_id": verified.account_id, "epoch": epoch, "proofs": [p.dump() for p in proofs]}
        self._change(on, pending, values)
        return replace(pending, account_id=verified.account_id, epoch=epoch, proofs=proofs)

    def completed(self, on: Executor, pending: Pending, session_id: str) -> Pending:
        """Note which session the proofs have become. Raises `Stale` when the attempt ended meanwhile."""
        self._change(on, pending, {"session_id": session_id})
        return replace(pending, session_id=session_id)

    def consented(self, on: Executor, pending: Pending) -> Pending:
        """Note that the person allowed it. Raises `Stale` when the attempt ended meanwhile."""
        self._change(on, pending, {"consented": True})
        return replace(pending, consented=True)

    def finish(self, on: Executor, pending: Pending) -> None:
        """End the attempt: exactly one caller succeeds, the others get `Stale`."""
        self._change(on, pending, {"finished_at": clock.now()})

    @staticmethod
    def _change(on: Executor, pending: Pending, values: Mapping[str, Any]) -> None:
        statement = (
            update(Attempt).where(_ROW.id == pending.id, _ROW.finished_at.is_(None)).values(**values).returning(_ROW.id)
        )
        if on.execute(statement).scalar() is None:
            raise Stale("attempt_over")


def _pending(row: Any) -> Pending:
    proofs = tuple(Proven.load(p) for p in row.proofs)
    return Pending(row.id, row.client_id, row.request, row.account_id, row.epoch, proofs, row.session_id, row.consented)


@dataclass(frozen=True)
class Verified:
    """A proof that counts: whose account it is, what it is worth, and the account's epoch when the check began."""

    account_id: str
    proof: Proven
    epoch: int


class Verifier:
    """The one door to every method's `verify`: it counts, journals, and judges the account.

    `tell_blocked` writes the letter to the owner of an account that was blocked just now, in the same transaction.
    """

    def __init__(self, database: Database, lockout: Lockout, tell_blocked: Callable[[Executor, str], None]) -> None:
        self._database, self._lockout, self._tell_blocked = database, lockout, tell_blocked

    def verify(
        self,
        method: LoginMethod,
        attempt: agreement.Attempt,
        *,
        identifier: tuple[str | None, str] | None,
        expected: str | None,
        address: str,
        client_id: str | None,
        reference: str,
    ) -> Verified:
        """Let a method check an answer.

        `identifier` is (account id or None, folded text) for a method that asks for one. `expected` is the account of
        the session or of an earlier proof: another person's proof is refused. A refusal is journaled with its exact
        cause under `reference`, then raised: `Blocked`, `Throttled`, or `Refused`.
        """
        account_id = identifier[0] if identifier else None
        about: dict[str, Any] = {"method": method.name, "client": client_id, "address": address, "reference": reference}
        epoch = self._epoch(account_id) if account_id else None
        try:
            taken = self._lockout.reserve(address, account_id, identifier[1] if identifier else None)
        except (Blocked, Throttled) as e:
            with self._database.begin() as c:
                record(c, LoginRefused(**about, account=account_id, cause=e.cause))
            raise
        try:
            proof = method.verify(attempt)
            # What the method wrote is settled before the counts: two open writers would wait for one another.
            orm.commit()
        except Refused as e:
            orm.rollback()
            self._refuse(taken, e, about)
            raise
        except BaseException:
            orm.rollback()
            with self._database.begin() as c:
                self._lockout.given_back(c, taken)
            raise
        return self._accept(taken, proof, method, expected, about, epoch)

    def _epoch(self, account_id: str) -> int | None:
        with self._database.read() as c:
            row = c.execute(_STATE, {"id": account_id}).one_or_none()
        return row.epoch if row else None

    def _refuse(self, taken: Reservation, refusal: Refused, about: Mapping[str, Any]) -> None:
        account_id = taken.account_id or refusal.account_id
        with self._database.begin() as c:
            count = self._lockout.failed(c, taken)
            record(c, LoginRefused(**about, account=account_id, cause=refusal.cause, detail=refusal.detail))
            if count.newly_blocked and account_id:
                self._tell_blocked(c, account_id)
        if count.blocked:
            raise Blocked("blocked", account_id=account_id) from refusal

    def _accept(
        self,
        taken: Reservation,
        proof: agreement.Proof,
        method: LoginMethod,
        expected: str | None,
        about: Any,
        epoch: int | None,
    ) -> Verified:
        refusal: Refused | None = None
        with self._database.begin() as c:
            row = c.execute(_STATE, {"id": proof.account_id}).one_or_none()
            state = row.state if row else "gone"
            try:
                self._lockout.succeeded(c, taken)
                if state != "active":
                    raise Refused(f"account_{state}", message=_NOT_ACTIVE, account_id=proof.account_id)
                if expected is not None and expected != proof.account_id:
                    raise Refused("other_account", message=_OTHER, account_id=proof.account_id)
            except Refused as e:
                refusal = e
                record(c, LoginRefused(**about, account=proof.account_id, cause=e.cause))
        if refusal:
            raise refusal
        assert row is not None
        proven = Proven.of(method.name, method.strength, proof.credential, clock.now())
        return Verified(proof.account_id, proven, row.epoch if epoch is None else epoch)


def check_identifier(typed: str) -> str:
    """Raises `Invalid` for what no identifier can be: nothing at all, or too long to be looked at."""
    if not typed:
        raise Invalid("email", _ENTER)
    if len(typed) > MAX_IDENTIFIER:
        raise Invalid("email", _TOO_LONG)
    return typed


_ENTER = N_("Enter your e-mail address.")
_TOO_LONG = N_("This e-mail address is too long.")
_NOT_ACTIVE = N_("This account is not active. Activate it with the link in the letter, or ask the help desk.")
_OTHER = N_("This belongs to another account than the one you are signed in with. Sign out first to use it.")
_LOAD = select(*_ROW).where(_ROW.id == bindparam("id"))
_LATEST = (
    select(*_ROW)
    .where(
        _ROW.browser_hash == bindparam("browser"),
        _ROW.finished_at.is_(None),
        _ROW.expires_at > bindparam("now"),
        _ROW.client_id.is_not(None),
    )
    .order_by(_ROW.created_at.desc())
    .limit(1)
)
_STATE = select(Account.state, Account.epoch).where(Account.id == bindparam("id"))

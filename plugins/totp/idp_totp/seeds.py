"""Seeds in the database: begun, confirmed, tried, removed. Each move is one conditional statement.

An answer is counted as wrong before it is looked at, by the statement that also locks the seed's row: only one answer
for an account is looked at at a time, and what was begun together cannot overshoot. A right answer takes the count back.
"""

from typing import Any

from sqlalchemy import ColumnElement, case, delete, func, null, or_, select, update
from sqlalchemy.orm import Session

from idp.plugin import N_, Conflict, Desk, NotFound, Refused, clock, insert
from idp_totp.tables import Recovery, Seed

MAX_WRONG = 5
CLOSED_SECONDS = 900
CONFIRM_SECONDS = 600
PURGED_AT_ONCE = 500
CLOSED = N_("Too many wrong codes. Wait a quarter of an hour, or choose another way.")
NOTHING_BEGUN = N_("The time to confirm has run out, or too many codes were wrong. Start again.")
_TABLE: Any = Seed.__table__
_SEED = Seed.__table__.c
_RECOVERY: Any = Recovery.__table__


def begin(desk: Desk, account_id: str, sealed: bytes) -> None:
    """Keep a new seed that is not confirmed yet, instead of an earlier one. Raises `Conflict` when one is in use."""
    fresh = {
        "sealed": sealed,
        "begun_at": clock.now(),
        "confirmed_at": None,
        "last_step": 0,
        "last_used_at": None,
        "failed": 0,
        "closed_until": None,
    }
    kept = desk.session.execute(
        insert(desk.session.get_bind().dialect, Seed)
        .values(account_id=account_id, **fresh)
        .on_conflict_do_update(index_elements=["account_id"], set_=fresh, where=_SEED.confirmed_at.is_(None))
        .returning(_SEED.account_id)
    ).scalar()
    if kept is None:
        raise Conflict("totp_enrolled", "the account has an authenticator application already")


def found(desk: Desk, account_id: str) -> Any:
    """The row of the confirmed seed of an account, or None."""
    return desk.session.execute(
        select(*_SEED).where(_SEED.account_id == account_id, _SEED.confirmed_at.is_not(None))
    ).one_or_none()


def try_sign_in(desk: Desk, account_id: str) -> Any:
    """Count an answer to the confirmed seed; its row. Raises `Refused` when there is none, or it is closed."""
    row = _count(desk, account_id, _SEED.confirmed_at.is_not(None))
    if row is not None:
        return row
    if found(desk, account_id) is None:
        raise Refused("no_totp", account_id=account_id)
    raise Refused("totp_closed", message=CLOSED, account_id=account_id)


def try_confirm(desk: Desk, account_id: str) -> Any:
    """Count an answer to a seed that was begun; its row. Raises `Refused` when there is none, too late or closed."""
    young = _SEED.begun_at > clock.now() - CONFIRM_SECONDS
    row = _count(desk, account_id, _SEED.confirmed_at.is_(None) & young)
    if row is None:
        raise Refused("totp_not_begun", message=NOTHING_BEGUN, account_id=account_id)
    return row


def accept_step(desk: Desk, account_id: str, step: int, **more: Any) -> None:
    """The code of a step was right: it and all older ones are spent. Raises `Refused` when it was before."""
    newer = _SEED.last_step < step
    if not _accept(desk, account_id, newer, last_step=step, **more):
        raise Refused("code_used", account_id=account_id)


def accept_recovery(desk: Desk, account_id: str, hashed: str) -> None:
    """Spend a recovery code. Raises `Refused` when the account has none such, or it is spent."""
    column = _RECOVERY.c
    spent = desk.session.execute(
        update(_RECOVERY)
        .where(column.hash == hashed, column.account_id == account_id, column.used_at.is_(None))
        .values(used_at=clock.now())
        .returning(column.hash)
    ).scalar()
    if spent is None:
        raise Refused("wrong_recovery_code", account_id=account_id)
    _accept(desk, account_id, _SEED.confirmed_at.is_not(None))


def keep_recovery(desk: Desk, account_id: str, hashes: list[str]) -> None:
    """Store the recovery codes of an account instead of earlier ones."""
    desk.session.execute(delete(_RECOVERY).where(_RECOVERY.c.account_id == account_id))
    desk.session.execute(_RECOVERY.insert(), [{"hash": one, "account_id": account_id} for one in hashes])


def recovery_left(desk: Desk, account_id: str) -> int:
    """How many recovery codes are unspent."""
    column = _RECOVERY.c
    unspent = select(func.count()).where(column.account_id == account_id, column.used_at.is_(None))
    return int(desk.session.execute(unspent.select_from(_RECOVERY)).scalar_one())


def remove(desk: Desk, account_id: str) -> None:
    """Forget the seed and the recovery codes of an account. Raises `NotFound` when it has no confirmed seed."""
    mine = (_SEED.account_id == account_id) & _SEED.confirmed_at.is_not(None)
    if desk.session.execute(delete(_TABLE).where(mine).returning(_SEED.account_id)).scalar() is None:
        raise NotFound("no_totp")
    desk.session.execute(delete(_RECOVERY).where(_RECOVERY.c.account_id == account_id))


def purge(now: int, session: Session) -> int:
    """Delete some seeds that were begun and not confirmed in time; how many."""
    late = select(_SEED.account_id).where(_SEED.confirmed_at.is_(None), _SEED.begun_at <= now - CONFIRM_SECONDS)
    gone = session.execute(
        delete(_TABLE)
        .where(
            _SEED.account_id.in_(late.limit(PURGED_AT_ONCE)),
            _SEED.confirmed_at.is_(None),
            _SEED.begun_at <= now - CONFIRM_SECONDS,
        )
        .returning(_SEED.account_id)
    )
    return len(gone.all())


def _count(desk: Desk, account_id: str, which: ColumnElement[bool]) -> Any:
    now = clock.now()
    failed = case((_SEED.closed_until.is_not(None), 1), else_=_SEED.failed + 1)  # closed here: the time is over
    return desk.session.execute(
        update(_TABLE)
        .where(_SEED.account_id == account_id, which, or_(_SEED.closed_until.is_(None), _SEED.closed_until <= now))
        .values(failed=failed, closed_until=case((failed >= MAX_WRONG, now + CLOSED_SECONDS), else_=null()))
        .returning(_SEED.sealed, _SEED.last_step)
    ).one_or_none()


def _accept(desk: Desk, account_id: str, which: ColumnElement[bool], **values: Any) -> bool:
    right = {"failed": 0, "closed_until": None, "last_used_at": clock.now(), **values}
    statement = update(_TABLE).where(_SEED.account_id == account_id, which).values(**right).returning(_SEED.account_id)
    return desk.session.execute(statement).scalar() is not None

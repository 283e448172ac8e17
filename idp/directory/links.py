"""One-time links in letters: random, stored hashed, consumed by one conditional statement and only by a POST."""

from sqlalchemy import insert, select, update

from idp import clock
from idp.db import Executor
from idp.errors import Stale
from idp.models import Link
from idp.sealing import fingerprint, token

_ROW = Link.__table__.c
MAX_SECRET = 64
RESET, ACTIVATION = "reset", "activation"


def make(on: Executor, purpose: str, account_id: str, seconds: int) -> tuple[str, int]:
    """A new link for one purpose: its secret, stored nowhere, and the instant of its end."""
    secret, now = token(), clock.now()
    on.execute(
        insert(Link),
        {
            "hash": fingerprint(secret),
            "purpose": purpose,
            "account_id": account_id,
            "created_at": now,
            "expires_at": now + seconds,
        },
    )
    return secret, now + seconds


def account_of(on: Executor, purpose: str, secret: str) -> str:
    """The account that a living link names, without consuming it. Raises `Stale`."""
    row = on.execute(select(*_ROW).where(_ROW.hash == fingerprint(secret[:MAX_SECRET]))).one_or_none()
    if row is None or row.purpose != purpose or row.used_at is not None or clock.now() >= row.expires_at:
        raise Stale("link_over" if row is not None and row.purpose == purpose else "link_unknown")
    return str(row.account_id)


def consume(on: Executor, purpose: str, secret: str) -> str:
    """Use a link up, in the open transaction; its account. Exactly one caller succeeds, the others get `Stale`."""
    now = clock.now()
    account_id = on.execute(
        update(Link)
        .where(
            _ROW.hash == fingerprint(secret[:MAX_SECRET]),
            _ROW.purpose == purpose,
            _ROW.used_at.is_(None),
            _ROW.expires_at > now,
        )
        .values(used_at=now)
        .returning(_ROW.account_id)
    ).scalar()
    if account_id is None:
        raise Stale("link_over")
    return str(account_id)


def withdraw(on: Executor, purpose: str, account_id: str) -> None:
    """End every other link of a purpose: after a reset, an older letter must not open the account again."""
    on.execute(
        update(Link)
        .where(_ROW.account_id == account_id, _ROW.purpose == purpose, _ROW.used_at.is_(None))
        .values(used_at=clock.now())
    )

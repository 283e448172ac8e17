"""Browser sessions: kept on the server, found by a secret cookie whose hash alone is stored.

A session ends by idling, by age, by signing out, by a reset or when its account is no longer active; what ended once
never lives again, also when a clock is set back.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select, update

from idp import clock
from idp.audit import SessionEnded, record
from idp.db import Database, Executor
from idp.errors import NotFound, Stale
from idp.login import assurance
from idp.login.assurance import Proven
from idp.models import Account, Grant, Session
from idp.sealing import fingerprint, token
from idp.settings import Sessions as Limits

SEEN_EVERY = 60  # a session's last use is noted at most once a minute: reading pages must not cost a write each


@dataclass(frozen=True)
class Live:
    """A living session. `id` is the `sid`, `auth_time` the last moment the person proved who she is."""

    id: str
    account_id: str
    auth_time: int
    proofs: tuple[Proven, ...]
    locale: str | None
    given_name: str
    family_name: str

    @property
    def level(self) -> int:
        """1 to 3: what this session is worth."""
        return assurance.level(self.proofs)


@dataclass(frozen=True)
class Seen:
    """A living session as its owner sees it in a list: since when, last used when, from where, with which program."""

    id: str
    created_at: int
    seen_at: int
    address: str
    user_agent: str


_ROW = Session.__table__.c
_PERSON = Account.__table__.c
_FIND = (
    select(
        _ROW.id, _ROW.account_id, _ROW.auth_time, _ROW.proofs, _ROW.seen_at, _ROW.created_at, _ROW.expires_at,
        _PERSON.locale, _PERSON.given_name, _PERSON.family_name,
    )
    .join_from(Session, Account, _PERSON.id == _ROW.account_id)
    .where(_ROW.secret_hash == bindparam("hash"), _ROW.ended_at.is_(None), _PERSON.state == "active")
)  # fmt: skip
_SEEN = (
    update(Session).where(_ROW.id == bindparam("sid"), _ROW.seen_at < bindparam("now")).values(seen_at=bindparam("now"))
)
_HOLD = (
    update(Session)
    .where(_ROW.id == bindparam("sid"), _ROW.ended_at.is_(None))
    .values(seen_at=_ROW.seen_at)
    .returning(_ROW.id)
)
_OF_ACCOUNT = (
    select(_ROW.id, _ROW.created_at, _ROW.seen_at, _ROW.address, _ROW.user_agent)
    .where(_ROW.ended_at.is_(None))
    .order_by(_ROW.seen_at.desc(), _ROW.created_at.desc())
)
_END = update(Session).where(_ROW.id == bindparam("sid"), _ROW.ended_at.is_(None)).values(ended_at=bindparam("now"))


class Sessions:
    """The sessions of an installation, within its limits of idling and age (seconds)."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self._database, self._limits = database, limits

    def find(self, secret: str | None) -> Live | None:
        """The living session of a cookie, or None. Notes its use; ends it for good when a limit has passed."""
        if not secret or len(secret) > 64:
            return None
        now = clock.now()
        with self._database.read() as c:
            row = c.execute(_FIND, {"hash": fingerprint(secret)}).one_or_none()
        if row is None:
            return None
        if now >= row.expires_at or now >= row.seen_at + self._limits.idle_seconds:
            with self._database.begin() as c:
                c.execute(_END, {"sid": row.id, "now": now})
            return None
        if now >= row.seen_at + SEEN_EVERY:
            with self._database.begin() as c:
                c.execute(_SEEN, {"sid": row.id, "now": now})
        return _live(row)

    def start(
        self, on: Executor, account_id: str, proofs: Sequence[Proven], address: str, user_agent: str
    ) -> tuple[str, str]:
        """A new session for an account; its id and the cookie's secret, which is stored nowhere."""
        now, sid, secret = clock.now(), secrets.token_hex(16), token()
        on.execute(
            Session.__table__.insert(),  # type: ignore[attr-defined]
            {
                "id": sid,
                "secret_hash": fingerprint(secret),
                "account_id": account_id,
                "auth_time": now,
                "proofs": [p.dump() for p in proofs],
                "address": address,
                "user_agent": user_agent[:200],
                "created_at": now,
                "seen_at": now,
                "expires_at": now + self._limits.absolute_seconds,
            },
        )
        return sid, secret

    def renew(self, on: Executor, live: Live, proofs: Sequence[Proven]) -> str:
        """The person proved herself again: same session, new proofs, new secret (returned), `auth_time` is now."""
        secret = token()
        on.execute(
            update(Session)
            .where(_ROW.id == live.id)
            .values(
                secret_hash=fingerprint(secret),
                auth_time=clock.now(),
                seen_at=clock.now(),
                proofs=[p.dump() for p in proofs],
            )
        )
        return secret

    def hold(self, on: Executor, live: Live) -> None:
        """Keep a session as it is until the open transaction ends. Raises `Stale` when it was ended meanwhile.

        Whoever ends it then sees what was given in its name, and ends that too.
        """
        if on.execute(_HOLD, {"sid": live.id}).scalar() is None:
            raise Stale("session_over")

    def end(self, on: Executor, live: Live, cause: str) -> None:
        """End a session and the grants that live by it; those for `offline_access` outlive it."""
        _end(on, live.account_id, live.id, cause)

    def living(self, on: Executor, account_id: str) -> list[Seen]:
        """The living sessions of an account, the one used last first."""
        now = clock.now()
        still = (_ROW.expires_at > now) & (_ROW.seen_at > now - self._limits.idle_seconds)
        rows = on.execute(_OF_ACCOUNT.where(_ROW.account_id == account_id, still))
        return [Seen(*row) for row in rows]

    def end_one(self, on: Executor, live: Live, sid: str) -> None:
        """End a living session of the same person by its id. Raises `NotFound` when she has none of that id."""
        if sid not in {seen.id for seen in self.living(on, live.account_id)}:
            raise NotFound("session_unknown")
        _end(on, live.account_id, sid, "account")

    def end_others(self, on: Executor, live: Live) -> None:
        """End every other living session of the same person."""
        for seen in self.living(on, live.account_id):
            if seen.id != live.id:
                _end(on, live.account_id, seen.id, "account")


def _end(on: Executor, account_id: str, sid: str, cause: str) -> None:
    now, grants = clock.now(), Grant.__table__.c
    on.execute(_END, {"sid": sid, "now": now})
    on.execute(
        update(Grant)
        .where(
            grants.session_id == sid,
            grants.revoked_at.is_(None),
            (" " + grants.scope + " ").not_like("% offline\\_access %", escape="\\"),
        )
        .values(revoked_at=now)
    )
    record(on, SessionEnded(account=account_id, session=sid, cause=cause))


def _live(row: Any) -> Live:
    values = row._mapping  # noqa: SLF001  SQLAlchemy's public name for it
    kept = {name: values[name] for name in Live.__dataclass_fields__ if name != "proofs"}
    return Live(proofs=tuple(Proven.load(p) for p in values["proofs"]), **kept)

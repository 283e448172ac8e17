"""The outbox: a letter is a row in the transaction of its cause, and leaves afterwards.

A mail server that is down loses nothing: a letter is tried again after 1, 2, 4 … minutes, at most an hour, for three
days. The text stays sealed until then and is erased when the letter has left or was given up.
"""

import secrets
from typing import Any

from sqlalchemy import func, insert, null, select, update

from idp import clock
from idp.db import Database, Executor
from idp.errors import Unavailable
from idp.models import Letter as Row
from idp.post.delivery import Undelivered, delivery
from idp.post.letters import Letter
from idp.post.message import compose, wire
from idp.sealing import Sealer
from idp.settings import Mail, Office

# A claimed letter belongs to its worker for so long; longer than any conversation with a mail server may take.
LEASE_SECONDS = 300
FIRST_DELAY, LONGEST_DELAY = 60, 3600
GIVE_UP_SECONDS = 3 * 86400

_ROW = Row.__table__.c


class Outbox:
    """The letters of one installation. Shared by all threads of a process; several processes may deliver."""

    def __init__(self, sealer: Sealer, mail: Mail, office: Office) -> None:
        self._sealer, self._mail, self._office = sealer, mail, office
        self._delivery = delivery(mail)

    def put(self, on: Executor, letter: Letter, account_id: str | None, recipient: str) -> str:
        """Write a letter into the open transaction; its id. Raises `Invalid` when it cannot be addressed."""
        name, at, recipient = secrets.token_hex(16), clock.now(), wire(recipient)
        content = compose(
            letter,
            self._office,
            self._mail.sender,
            recipient,
            name=name,
            at=at,
            readable=self._delivery.readable,
        )
        row = {
            "id": name,
            "account_id": account_id,
            "kind": letter.kind,
            "recipient": recipient,
            "sealed": self._sealer.seal(content, _place(name)),
            "created_at": at,
            "next_try_at": at,
        }
        on.execute(insert(Row), row)
        return name

    def deliver_due(self, database: Database) -> int:
        """Try every letter whose time has come; how many left.

        Stops early when the mail server cannot be reached. A worker that dies on the way leaves its letter to the
        next one after `LEASE_SECONDS`. Raises `Unavailable` when the database cannot be asked.
        """
        delivered = 0
        while (row := _claim(database)) is not None:
            try:
                content = self._sealer.unseal(row.sealed, _place(row.id))
                self._delivery.deliver(content, row.recipient, row.id, row.created_at)
            except Unavailable as e:
                _failed(database, row, str(e))
            except Undelivered as e:
                _failed(database, row, str(e))
                if e.down:
                    break
            else:
                _done(database, row.id)
                delivered += 1
        return delivered


def recently(on: Executor, account_id: str, kind: str, seconds: int) -> int:
    """How many letters of one kind were written to an account in the last `seconds`."""
    since = clock.now() - seconds
    query = select(func.count()).where(_ROW.account_id == account_id, _ROW.kind == kind, _ROW.created_at > since)
    return int(on.execute(query).scalar_one())


def _claim(database: Database) -> Any:
    """Take the letter that is due longest, by one conditional statement; None when nothing is due."""
    now = clock.now()
    due = select(_ROW.id).where(_ROW.next_try_at <= now).order_by(_ROW.next_try_at, _ROW.id).limit(1)
    with database.read() as c:
        if c.execute(due).first() is None:  # the usual case takes no lock
            return None
    # Workers that come at the same moment pass over one another's letters where the engine can; else one finds none.
    free = due.with_for_update(skip_locked=True).scalar_subquery()
    take = (
        update(Row)
        .where(_ROW.id == free, _ROW.next_try_at <= now, _ROW.sealed.is_not(None))
        .values(next_try_at=now + LEASE_SECONDS, tries=_ROW.tries + 1)
        .returning(_ROW.id, _ROW.recipient, _ROW.sealed, _ROW.created_at, _ROW.tries)
    )
    with database.begin() as c:
        return c.execute(take).one_or_none()


def _done(database: Database, name: str) -> None:
    left = {"delivered_at": clock.now(), "next_try_at": None, "last_error": None}
    with database.begin() as c:
        c.execute(update(Row).where(_ROW.id == name).values(sealed=null(), **left))


def _failed(database: Database, row: Any, error: str) -> None:
    now = clock.now()
    values: dict[str, Any] = {"last_error": error}
    if now - row.created_at >= GIVE_UP_SECONDS:
        values |= {"next_try_at": None, "sealed": null()}
    else:
        values["next_try_at"] = now + min(FIRST_DELAY << min(row.tries - 1, 10), LONGEST_DELAY)
    # Not when another worker delivered it meanwhile: a conversation that outlived its lease.
    with database.begin() as c:
        c.execute(update(Row).where(_ROW.id == row.id, _ROW.delivered_at.is_(None)).values(**values))


def _place(name: str) -> str:
    return f"letter/{name}"

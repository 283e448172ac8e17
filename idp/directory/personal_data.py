"""What is stored about a person: handed out as one value, or erased but for the account's id in the journal."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Column, delete, select

from idp import clock
from idp.audit import AccountErased, record
from idp.db import Base
from idp.directory import accounts, entities
from idp.directory.accounts import Orm
from idp.errors import NotFound
from idp.models import (
    Account,
    Attempt,
    Consent,
    Grant,
    JoinRequest,
    JournalEntry,
    Letter,
    Link,
    Membership,
    Session,
    Token,
)

# Never handed out: hashes and seals of secrets, the keys of look-ups, and what only ties rows together.
SECRET = frozenset(
    {"hash", "secret_hash", "browser_hash", "code_hash", "challenge", "nonce", "sealed", "email_key", "username_key"}
)
_TABLES: tuple[tuple[str, type[Base]], ...] = (
    ("membership", Membership),
    ("join_requests", JoinRequest),
    ("consents", Consent),
    ("attempts", Attempt),
    ("sessions", Session),
    ("grants", Grant),
    ("links", Link),
    ("letters", Letter),
)


def export(on: Orm, account_id: str) -> dict[str, Any]:
    """Everything that the house keeps about an account, without secrets; instants as RFC 3339 text. Raises `NotFound`."""
    told: dict[str, Any] = {"account": _told(accounts.row(on, account_id))}
    for name, model in _TABLES:
        columns = model.__table__.c
        told[name] = _rows(on, columns, columns.account_id == account_id)
    of_account = Token.__table__.c.grant_id.in_(select(Grant.id).where(Grant.account_id == account_id))
    told["tokens"] = _rows(on, Token.__table__.c, of_account)
    entries = JournalEntry.__table__.c
    told["journal"] = [
        {**entry, "details": json.loads(entry["details"])}
        for entry in _rows(on, entries, entries.account == account_id)
    ]
    return told


def erase(on: Orm, account_id: str, cause: str, *, only: Any = None) -> None:
    """Delete an account with everything about the person: sessions, tokens, cards, passwords, letters.

    An entity is closed with its last member. `only` is a condition on the account that must still hold. Raises
    `NotFound`, or `Conflict` when others of the entity would be left without a manager.
    """
    _leave(on, account_id)
    # A statement, not the ORM's delete: the database takes along what belongs to the account, in every plugin too.
    gone = delete(Account).where(Account.id == account_id, *([] if only is None else [only])).returning(Account.id)
    if on.execute(gone.execution_options(synchronize_session=False)).scalar() is None:
        raise NotFound("account_unknown")
    on.expunge_all()
    record(on, AccountErased(account=account_id, cause=cause))


def _leave(on: Orm, account_id: str) -> None:
    found = select(Membership.entity_id).where(Membership.account_id == account_id)
    entity_id = on.execute(found).scalar()
    if entity_id is None:
        return
    entities.held(on, entity_id)
    if on.execute(found).scalar() != entity_id:  # detached a moment ago
        return
    if entities.size(on, entity_id) == 1:
        entities.close(on, entities.COMMAND, entity_id)
    else:
        entities.change(on, entities.COMMAND, entity_id, account_id, "detach")


def _rows(on: Orm, columns: Any, condition: Any) -> list[dict[str, Any]]:
    shown: Iterable[Column[Any]] = [c for c in columns if c.name not in SECRET]
    return [_told(row) for row in on.execute(select(*shown).where(condition)).all()]


def _told(row: Any) -> dict[str, Any]:
    values = {name: value for name, value in row._mapping.items() if name not in SECRET}  # noqa: SLF001
    return {n: clock.text(v) if isinstance(v, int) and n.endswith(("_at", "_time")) else v for n, v in values.items()}

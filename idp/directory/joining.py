"""Requests to join an entity. Whoever asks learns nothing by it: not who exists, not who manages what.

A request is decided once, by one conditional statement, and only by who can manage the entity at that moment.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update

from idp import clock
from idp.audit import JoinAccepted, JoinAsked, JoinRefused, record
from idp.directory import accounts
from idp.directory.accounts import Orm
from idp.directory.entities import By, acting, attach, cancel_requests, held, hold_account, managed, managers
from idp.directory.identifiers import fold_email
from idp.errors import Conflict, NotFound, Stale
from idp.models import Account, Entity, JoinRequest

DAY = 86400
LIVES_DAYS = 14
ASKED_A_DAY = 5

_REQUEST = JoinRequest.__table__.c


@dataclass(frozen=True)
class Asked:
    """A new request: who asks, for which entity, until when, and the managers to be told."""

    id: str
    account: Account
    entity: Entity
    expires_at: int
    managers: Sequence[Account]


def ask(on: Orm, by: By, email: str) -> Asked | None:
    """Ask the managers of the entity that the owner of an address manages to be let in.

    None when there is no such entity, when it was asked already or too often in a day; whoever asks must be answered the
    same in every case. A request to another entity is cancelled. Raises `Invalid` for what is no address, `Conflict`
    when the person belongs to an entity, `Forbidden` when her account is no longer active.
    """
    entity = _managed_by(on, fold_email(email))
    account = acting(on, by)
    if account.membership is not None:
        raise Conflict("entity_taken")
    now = clock.now()
    mine = _REQUEST.account_id == account.id
    lately = on.execute(select(func.count()).where(mine, _REQUEST.created_at > now - DAY)).scalar_one()
    waiting = (_REQUEST.state == "pending") & (_REQUEST.expires_at > now)
    if entity is None or lately >= ASKED_A_DAY:
        return None
    if on.execute(select(_REQUEST.id).where(mine, waiting, _REQUEST.entity_id == entity.id)).first():
        return None
    cancel_requests(on, by, mine, "replaced")
    request = JoinRequest(
        id=secrets.token_hex(16),
        account_id=account.id,
        entity_id=entity.id,
        state="pending",
        created_at=now,
        expires_at=now + LIVES_DAYS * DAY,
    )
    on.add(request)
    on.flush()
    record(on, JoinAsked(account=account.id, address=by.address, entity=entity.id, request=request.id))
    told = [m.account for m in managers(on, entity.id)]
    return Asked(request.id, account, entity, request.expires_at, told)


def _managed_by(on: Orm, email: str) -> Entity | None:
    """The entity that the owner of an address can manage, held; None when there is none."""
    account = accounts.find(on, email)
    if account is None or account.membership is None:
        return None
    try:
        entity = held(on, account.membership.entity_id)
    except (NotFound, Conflict):  # closed a moment ago
        return None
    return entity if any(m.account_id == account.id for m in managers(on, entity.id)) else None


def withdraw(on: Orm, by: By) -> None:
    """Cancel the request of the acting person, if one waits. Raises `Forbidden` like `acting`."""
    account = acting(on, by)
    cancel_requests(on, by, _REQUEST.account_id == account.id, "withdrawn")


def waiting(on: Orm, entity_id: str) -> Sequence[tuple[JoinRequest, Account]]:
    """The requests that the managers of an entity can decide now, oldest first, and who asks."""
    query = (
        select(JoinRequest, Account)
        .join(Account, Account.id == JoinRequest.account_id)
        .where(JoinRequest.entity_id == entity_id, JoinRequest.state == "pending", JoinRequest.expires_at > clock.now())
        .order_by(JoinRequest.created_at, JoinRequest.id)
    )
    return [(row[0], row[1]) for row in on.execute(query).unique().all()]


def get(on: Orm, entity_id: str, request_id: str) -> JoinRequest:
    """A request to this entity. Raises `NotFound`, also for one to another entity."""
    found = on.get(JoinRequest, request_id)
    if found is None or found.entity_id != entity_id:
        raise NotFound("request_unknown")
    return found


def decide(on: Orm, by: By, entity_id: str, request_id: str, *, accept: bool) -> Account:
    """Let somebody in, as a collaborator, or refuse it; whose request it was.

    Raises `Stale` when it was decided, withdrawn or has expired, `NotFound` when it is none to this entity, and what
    `held` and `managed` raise.
    """
    entity = managed(on, by, held(on, entity_id))
    account = hold_account(on, get(on, entity.id, request_id).account_id)
    now = clock.now()
    still = (_REQUEST.id == request_id) & (_REQUEST.state == "pending") & (_REQUEST.expires_at > now)
    values = {"state": "accepted" if accept else "refused", "decided_at": now, "decided_by": by.account_id}
    if on.execute(update(JoinRequest).where(still).values(**values).returning(_REQUEST.id)).scalar() is None:
        raise Stale("request_over")
    event = JoinAccepted if accept else JoinRefused
    record(on, event(account=account.id, entity=entity.id, request=request_id, **by.about))
    if accept:
        attach(on, entity, account, "collaborator", by=by)
    return account

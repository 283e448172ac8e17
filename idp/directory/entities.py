"""Entities and their members. One entity per account; the database keeps the rule.

Every change of an entity, of its members and of who asks to join begins with `hold`: its row is the one place where
those who act at the same moment wait for one another. Who acts is read again after that, so that a right which was
taken away a moment ago is gone. Order of locks: the entity, then an account, then requests.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select, update

from idp import clock
from idp.audit import (
    EntityAdded,
    EntityChanged,
    EntityClosed,
    EntityVerified,
    JoinCancelled,
    MemberAttached,
    MemberDemoted,
    MemberDetached,
    MemberPromoted,
    MemberResumed,
    MemberSuspended,
    record,
)
from idp.directory.accounts import Orm
from idp.directory.identifiers import clean_name
from idp.errors import Conflict, Forbidden, Invalid, NotFound
from idp.language import N_
from idp.models import ROLES, Account, Entity, JoinRequest, Membership

NUMBERS = ("siren", "siret", "legal_form", "activity_code", "country")
MAX_NAME, MAX_NUMBER = 200, 60
ACTS = ("promote", "demote", "suspend", "resume", "detach")

_ENTITY, _ACCOUNT, _MEMBER, _REQUEST = (t.__table__.c for t in (Entity, Account, Membership, JoinRequest))


@dataclass(frozen=True)
class By:
    """Who acts: the account of a person and her network address, or nobody for a command of staff."""

    account_id: str | None = None
    address: str | None = None

    @property
    def about(self) -> dict[str, str | None]:
        """Its part of an event."""
        return {"by": self.account_id, "address": self.address}


COMMAND = By()


# The entity ---------------------------------------------------------------------------------------------------------


def add(on: Orm, name: str, manager: Account, *, by: By = COMMAND, **numbers: str | None) -> Entity:
    """A new entity with its first manager. Raises `Invalid`, or `Conflict` when the manager belongs to another."""
    entity = Entity(id=str(uuid.uuid4()), created_at=clock.now(), verified=False, **checked(name, numbers))
    on.add(entity)
    on.flush()
    record(on, EntityAdded(account=manager.id, entity=entity.id, **by.about))
    attach(on, entity, manager, "manager", by=by)
    return entity


def create(on: Orm, by: By, name: str, **numbers: str | None) -> Entity:
    """An entity of the acting person, who becomes its manager. Raises as `add`, and `Forbidden`."""
    return add(on, name, acting(on, by), by=by, **numbers)


def checked(name: str, numbers: dict[str, str | None]) -> dict[str, str | None]:
    """What an entity says of itself, as it is stored; an empty number is none. Raises `Invalid`."""
    found: dict[str, str | None] = {"name": clean_name("name", name, longest=MAX_NAME)}
    for key in NUMBERS:
        given = (numbers.get(key) or "").strip()
        try:
            found[key] = clean_name(key, given, longest=MAX_NUMBER) if given else None
        except Invalid as e:
            raise Invalid(key, N_("Enter at most %(longest)s visible characters."), longest=MAX_NUMBER) from e
    return found


def edit(on: Orm, by: By, entity_id: str, name: str, **numbers: str | None) -> Entity:
    """Change what an entity says of itself; what the office had verified is then no longer so.

    Raises `Invalid`, and what `held` and `managed` raise.
    """
    entity = managed(on, by, held(on, entity_id))
    changed = {key: value for key, value in checked(name, numbers).items() if getattr(entity, key) != value}
    for key, value in changed.items():
        setattr(entity, key, value)
    if changed:
        entity.verified = False
        on.flush()
        record(on, EntityChanged(account=by.account_id, entity=entity.id, fields=" ".join(changed), **by.about))
    return entity


def verify(on: Orm, entity_id: str) -> Entity:
    """The office has verified who the entity is: an act of staff. Raises what `held` raises."""
    entity = held(on, entity_id)
    if not entity.verified:
        entity.verified = True
        on.flush()
        record(on, EntityVerified(entity=entity.id))
    return entity


def close(on: Orm, by: By, entity_id: str) -> Sequence[Account]:
    """Close an entity: everybody is detached, every waiting request cancelled, at once. Returns who was detached.

    Raises what `held` and `managed` raise.
    """
    entity = managed(on, by, held(on, entity_id))
    members = [m.account for m in entity.memberships]
    for account in members:
        _detach(on, by, entity, account.id, "closed")
    requests = cancel_requests(on, by, _REQUEST.entity_id == entity.id, "entity_closed")
    on.execute(update(Entity).where(_ENTITY.id == entity.id).values(closed_at=clock.now()))
    event = EntityClosed(
        account=by.account_id,
        address=by.address,
        entity=entity.id,
        members=len(members),
        requests=requests,
        by=by.account_id,
    )
    record(on, event)
    on.expire_all()
    return members


def get(on: Orm, entity_id: str) -> Entity:
    """Raises `NotFound`."""
    entity = on.get(Entity, entity_id)
    if entity is None:
        raise NotFound("entity_unknown", f"no entity {entity_id}")
    return entity


def listed(on: Orm) -> Sequence[Entity]:
    """Every entity, closed ones too, by name."""
    return on.execute(select(Entity).order_by(Entity.name, Entity.id)).scalars().all()


# Its members --------------------------------------------------------------------------------------------------------


def attach(on: Orm, entity: Entity, account: Account, role: str, *, by: By = COMMAND) -> Membership:
    """Make an account a member; a request of it that waits is cancelled.

    Raises `Invalid`, or `Conflict` when the entity is closed or the account belongs to an entity already.
    """
    if role not in ROLES:
        raise Invalid("role", f"must be one of {', '.join(ROLES)}")
    held(on, entity.id)
    hold_account(on, account.id)
    if account.membership is not None:
        raise Conflict("entity_taken", f"{account.email} belongs to an entity already")
    membership = Membership(account_id=account.id, entity_id=entity.id, role=role, created_at=clock.now())
    on.add(membership)
    on.flush()
    record(on, MemberAttached(account=account.id, entity=entity.id, role=role, **by.about))
    cancel_requests(on, by, _REQUEST.account_id == account.id, "attached")
    on.expire_all()
    return membership


def change(on: Orm, by: By, entity_id: str, account_id: str, act: str) -> Account:
    """One of `ACTS` on a member; returns whose membership it is.

    Raises `NotFound` for who is no member of this entity, `Conflict` when nothing would change (`unchanged`) or no
    manager would be left (`last_manager`), and what `held` and `managed` raise.
    """
    entity = managed(on, by, held(on, entity_id))
    found = member(on, entity.id, account_id)
    account, suspended = found.account, found.suspended_at is not None
    about: dict[str, Any] = {"account": account_id, "entity": entity.id, **by.about}
    match act:
        case "promote" if found.role != "manager":
            found.role = "manager"
            record(on, MemberPromoted(**about))
        case "demote" if found.role == "manager":
            keep_a_manager(on, found)
            found.role = "collaborator"
            record(on, MemberDemoted(**about))
        case "suspend" if not suspended:
            keep_a_manager(on, found)
            found.suspended_at = clock.now()
            record(on, MemberSuspended(**about))
        case "resume" if suspended:
            found.suspended_at = None
            record(on, MemberResumed(**about))
        case "detach":
            keep_a_manager(on, found)
            _detach(on, by, entity, account_id, "detached")
        case _:
            raise Conflict("unchanged", f"{account.email}: nothing to {act}")
    on.flush()
    on.expire_all()
    return account


def leave(on: Orm, by: By, entity_id: str) -> Entity:
    """The acting person leaves her entity. Raises `Conflict` for the last manager, and what `held` raises."""
    entity = held(on, entity_id)
    found = member(on, entity.id, acting(on, by).id)
    keep_a_manager(on, found)
    _detach(on, by, entity, found.account_id, "left")
    on.expire_all()
    return entity


def member(on: Orm, entity_id: str, account_id: str) -> Membership:
    """The membership of an account in this entity. Raises `NotFound`, also for a member of another one."""
    where = (Membership.account_id == account_id) & (Membership.entity_id == entity_id)
    found = on.execute(select(Membership).where(where)).unique().scalar_one_or_none()
    if found is None:
        raise NotFound("member_unknown", f"no such member in entity {entity_id}")
    return found


def keep_a_manager(on: Orm, leaving: Membership) -> None:
    """Raises `Conflict` when nobody who can act as a manager would be left without this one."""
    if leaving.role != "manager" or leaving.suspended_at is not None:
        return
    if not any(m.account_id != leaving.account_id for m in managers(on, leaving.entity_id)):
        raise Conflict("last_manager", "name another manager first, or close the entity")


def managers(on: Orm, entity_id: str) -> Sequence[Membership]:
    """Who can act as a manager of an entity now: unsuspended, with an active account."""
    where = (Membership.entity_id == entity_id) & (Membership.role == "manager") & Membership.suspended_at.is_(None)
    acting = where & (Account.state == "active")
    return (
        on.execute(select(Membership).join(Account).where(acting).order_by(Membership.created_at))
        .unique()
        .scalars()
        .all()
    )


def _detach(on: Orm, by: By, entity: Entity, account_id: str, cause: str) -> None:
    on.execute(delete(Membership).where(_MEMBER.account_id == account_id, _MEMBER.entity_id == entity.id))
    record(on, MemberDetached(account=account_id, entity=entity.id, cause=cause, **by.about))


def cancel_requests(on: Orm, by: By, which: Any, cause: str) -> int:
    """Cancel the waiting requests to join among `which`; those that time has ended are only marked so. How many."""
    now, waiting = clock.now(), which & (_REQUEST.state == "pending")
    on.execute(update(JoinRequest).where(waiting, _REQUEST.expires_at <= now).values(state="expired"))
    values = {"state": "cancelled", "decided_at": now, "decided_by": by.account_id}
    found = on.execute(
        update(JoinRequest)
        .where(waiting)
        .values(**values)
        .returning(_REQUEST.id, _REQUEST.account_id, _REQUEST.entity_id)
    ).all()
    for row in found:
        event = JoinCancelled(account=row.account_id, entity=row.entity_id, request=row.id, cause=cause, **by.about)
        record(on, event)
    return len(found)


# Holding and judging ------------------------------------------------------------------------------------------------


def held(on: Orm, entity_id: str) -> Entity:
    """The entity, kept as it is for everybody else until the open transaction ends.

    Raises `NotFound`, or `Conflict` when it is closed.
    """
    on.flush()
    # An update, though nothing changes: it takes the row's lock on PostgreSQL and the only writer's place on SQLite.
    open_one = update(Entity).where(_ENTITY.id == entity_id, _ENTITY.closed_at.is_(None))
    values = open_one.values(name=_ENTITY.name).returning(_ENTITY.id).execution_options(synchronize_session=False)
    found = on.execute(values).scalar()
    on.expire_all()  # what was read before the lock may have changed since
    entity = get(on, entity_id)
    if found is None:
        raise Conflict("entity_closed", f"entity {entity_id} is closed")
    return entity


def hold_account(on: Orm, account_id: str) -> Account:
    """The account, kept out of every entity but the one that the open transaction puts it in. Raises `NotFound`."""
    held = update(Account).where(_ACCOUNT.id == account_id).values(epoch=_ACCOUNT.epoch).returning(_ACCOUNT.id)
    if on.execute(held.execution_options(synchronize_session=False)).scalar() is None:
        raise NotFound("account_unknown")
    on.expire_all()
    return on.execute(select(Account).where(Account.id == account_id)).unique().scalar_one()


def acting(on: Orm, by: By) -> Account:
    """The acting person's account, held. Raises `Forbidden` when it is no longer active."""
    account = hold_account(on, by.account_id or "")
    if account.state != "active":
        raise Forbidden("account_inactive")
    return account


def managed(on: Orm, by: By, entity: Entity) -> Entity:
    """The entity, if who acts may manage it: one of its `managers`, or a command of staff.

    Raises `Forbidden` for another of its members, and `NotFound` for everybody else.
    """
    if by.account_id is None:
        return entity
    try:
        found = member(on, entity.id, by.account_id)
    except NotFound as e:
        raise NotFound("entity_of_others") from e
    if found.role != "manager" or found.suspended_at is not None or found.account.state != "active":
        raise Forbidden("not_manager")
    return entity


def size(on: Orm, entity_id: str) -> int:
    """How many accounts belong to an entity."""
    return int(on.execute(select(func.count()).where(_MEMBER.entity_id == entity_id)).scalar_one())

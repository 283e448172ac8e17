"""Entities and their members. One entity per account; the database keeps the rule."""

import uuid

from sqlalchemy.exc import IntegrityError

from idp import clock
from idp.audit import EntityAdded, MemberAttached, record
from idp.directory.accounts import Orm
from idp.directory.identifiers import clean_name
from idp.errors import Conflict, Invalid, NotFound
from idp.models import ROLES, Account, Entity, Membership

NUMBERS = ("siren", "siret", "legal_form", "activity_code", "country")


def add(on: Orm, name: str, manager: Account, **numbers: str | None) -> Entity:
    """A new entity with its first manager. Raises `Invalid`, or `Conflict` when the manager belongs to another."""
    given = {key: clean_name(key, value, longest=60) for key, value in numbers.items() if value is not None}
    entity = Entity(id=str(uuid.uuid4()), name=clean_name("name", name, longest=200), created_at=clock.now(), **given)
    entity.verified = False
    on.add(entity)
    on.flush()
    record(on, EntityAdded(account=manager.id, entity=entity.id))
    attach(on, entity, manager, "manager")
    return entity


def attach(on: Orm, entity: Entity, account: Account, role: str) -> Membership:
    """Make an account a member. Raises `Conflict` when it belongs to an entity already."""
    if role not in ROLES:
        raise Invalid("role", f"must be one of {', '.join(ROLES)}")
    if entity.closed_at is not None:
        raise Conflict("entity_closed", f"entity {entity.id} is closed")
    taken = Conflict("entity_taken", f"{account.email} belongs to an entity already")
    if account.membership is not None:
        raise taken
    membership = Membership(account_id=account.id, entity_id=entity.id, role=role, created_at=clock.now())
    try:
        with on.begin_nested():
            on.add(membership)
    except IntegrityError as e:  # attached elsewhere at the same moment
        raise taken from e
    record(on, MemberAttached(account=account.id, entity=entity.id, role=role))
    on.expire(entity)
    on.expire(account)
    return membership


def get(on: Orm, entity_id: str) -> Entity:
    """Raises `NotFound`."""
    entity = on.get(Entity, entity_id)
    if entity is None:
        raise NotFound("entity_unknown", f"no entity {entity_id}")
    return entity

"""Accounts: adding, finding, and the instants from which their sessions and grants are dead."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import case, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as OrmSession
from sqlalchemy.orm import scoped_session

from idp import clock
from idp.audit import AccountActivated, AccountAdded, AccountDisabled, AccountEnabled, record
from idp.db import Executor
from idp.directory import links
from idp.directory.identifiers import clean_name, fold_email, fold_identifier, fold_username
from idp.errors import Conflict, Invalid, NotFound, Stale
from idp.models import STAFF, Account, Attempt, Grant, Session

Orm = OrmSession | scoped_session[OrmSession]


def add(
    on: Orm,
    email: str,
    given_name: str,
    family_name: str,
    *,
    username: str | None = None,
    staff: str | None = None,
    locale: str | None = None,
) -> Account:
    """A new account, not yet active. Raises `Invalid`, or `Conflict` when the address or user name is taken."""
    if staff is not None and staff not in STAFF:
        raise Invalid("staff", f"must be one of {', '.join(STAFF)}")
    now = clock.now()
    account = Account(
        id=str(uuid.uuid4()),
        email=email,
        email_key=fold_email(email),
        email_verified=False,
        username=username,
        username_key=fold_username(username) if username is not None else None,
        given_name=clean_name("given_name", given_name),
        family_name=clean_name("family_name", family_name),
        locale=locale,
        state="pending",
        staff=staff,
        created_at=now,
        updated_at=now,
    )
    try:
        with on.begin_nested():
            on.add(account)
    except IntegrityError as e:
        raise Conflict("account_exists", f"an account with {email} or this user name exists") from e
    record(on, AccountAdded(account=account.id, staff=staff))
    return account


def activate(on: Orm, account: Account) -> None:
    """A pending account becomes active; its address counts as verified. Raises `Stale` when it waits no longer."""
    if account.state != "pending":
        raise Stale("account_not_pending")
    account.state = "active"
    account.email_verified = True
    account.updated_at = clock.now()
    record(on, AccountActivated(account=account.id))


def find(on: Orm, typed: str) -> Account | None:
    """The account that an e-mail address or user name names, or None."""
    key = fold_identifier(typed)
    return (
        on.execute(select(Account).where((Account.email_key == key) | (Account.username_key == key)))
        .unique()
        .scalar_one_or_none()
    )


def get(on: Orm, email: str) -> Account:
    """Like `find`, for commands. Raises `NotFound`."""
    account = find(on, email)
    if account is None:
        raise NotFound("account_unknown", f"no account {email}")
    return account


def by_id(on: Orm, account_id: str) -> Account:
    """Raises `NotFound`."""
    account = on.get(Account, account_id)
    if account is None:
        raise NotFound("account_unknown")
    return account


def row(on: Executor, account_id: str) -> Any:
    """The columns of an account, where there is only a Core connection. Raises `NotFound`."""
    found = on.execute(select(*Account.__table__.c).where(Account.id == account_id)).one_or_none()
    if found is None:
        raise NotFound("account_unknown")
    return found


def listed(on: Orm) -> Sequence[Account]:
    """Every account, by address."""
    return on.execute(select(Account).order_by(Account.email_key)).unique().scalars().all()


def end_everything(on: Orm, account_id: str, *, but: str | None = None) -> None:
    """End every session, grant, unredeemed code and sign-in under way of an account: after a reset, after disabling.

    `but` names a session that stays, with the grants given in it: the one that its owner is changing her password in.

    The order matters: who signs in at this moment holds the account's row (`hold`), who gets a code holds the session's,
    so that each is either ended here or comes too late.
    """
    now = clock.now()
    on.execute(update(Account).where(Account.id == account_id).values(epoch=Account.epoch + 1))
    begun = (Attempt.account_id == account_id) & Attempt.finished_at.is_(None)
    on.execute(update(Attempt).where(begun).values(finished_at=now))
    others = (Session.account_id == account_id) & Session.id.is_distinct_from(but)
    on.execute(update(Session).where(others, Session.ended_at.is_(None)).values(ended_at=now))
    given = (Grant.account_id == account_id) & Grant.session_id.is_distinct_from(but)
    on.execute(update(Grant).where(given, Grant.revoked_at.is_(None)).values(revoked_at=now))


def disable(on: Orm, account_id: str, cause: str) -> None:
    """No sign-in from now on: sessions, tokens and links in letters die. Raises `Conflict` when it is disabled already."""
    for purpose in (links.ACTIVATION, links.RESET):
        links.withdraw(on, purpose, account_id)
    still = (Account.id == account_id) & (Account.state != "disabled")
    values = {"state": "disabled", "updated_at": clock.now()}
    if on.execute(update(Account).where(still).values(values).returning(Account.id)).scalar() is None:
        raise Conflict("account_disabled", "this account is disabled already")
    end_everything(on, account_id)
    record(on, AccountDisabled(account=account_id, cause=cause))


def enable(on: Orm, account_id: str) -> None:
    """Let a disabled account sign in again; one that was never activated waits for that anew. Raises `Conflict`."""
    state = case((Account.email_verified, "active"), else_="pending")
    still = (Account.id == account_id) & (Account.state == "disabled")
    values = {"state": state, "updated_at": clock.now()}
    if on.execute(update(Account).where(still).values(values).returning(Account.id)).scalar() is None:
        raise Conflict("account_not_disabled", "this account is not disabled")
    record(on, AccountEnabled(account=account_id))


def hold(on: Executor, account_id: str, epoch: int | None) -> None:
    """Keep an account as it is until the open transaction ends. Raises `Stale` when it was ended or disabled meanwhile."""
    columns = Account.__table__.c
    still = (columns.id == account_id) & (columns.epoch == epoch) & (columns.state == "active")
    # An update, though nothing changes: it takes the row's lock on PostgreSQL and the only writer's place on SQLite.
    if on.execute(update(Account).where(still).values(epoch=epoch).returning(columns.id)).scalar() is None:
        raise Stale("account_changed")

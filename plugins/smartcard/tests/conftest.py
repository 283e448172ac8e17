"""Fixtures: the method on a desk whose parts are real, two accounts, and an authority whose cards are accepted."""

from collections.abc import Callable, Iterator

import pytest
from idp_smartcard import CardSettings, Smartcard
from services.authority import NOW, CardAuthority
from services.card_office import ORIGIN, Office
from sqlalchemy import insert, select
from sqlalchemy.orm import scoped_session, sessionmaker

from idp import clock
from idp.db import Database
from idp.language import Languages
from idp.models import Account
from idp.plugin import Desk, Person
from idp.sealing import Sealer
from idp.settings import build
from idp.trust import anchors, chain


@pytest.fixture
def move() -> Iterator[Callable[[int], None]]:
    """The clock stands still and is moved by hand."""
    with clock.fixed(NOW) as advance:
        yield advance


@pytest.fixture(scope="session")
def authority() -> CardAuthority:
    """The authority whose cards the office accepts; it has revoked the serial number 666."""
    return CardAuthority()


@pytest.fixture
def office(database: Database, move: Callable[[int], None], authority: CardAuthority) -> Iterator[Office]:
    """An office that trusts the authority and knows alice and bob; runs once on each engine."""
    session = scoped_session(sessionmaker(database.engine))
    common = {"given_name": "A", "family_name": "M", "state": "active", "created_at": NOW, "updated_at": NOW}
    with database.begin() as on:
        anchors.add(on, authority.der, "cards", crl=authority.crl(666))
        for who in ("alice", "bob"):
            mail = f"{who}@e1.example"
            on.execute(insert(Account).values(id=who, email=mail, email_key=mail, **common))
    trusted = anchors.Trusted()
    sealer = Sealer(b"m" * 32)
    desk = Desk(
        origin=ORIGIN,
        rules=build({}).rules,
        session=session,
        mac=sealer.key,
        seal=sealer.seal,
        unseal=sealer.unseal,
        verify_card=lambda der, at: chain.verify(der, at, trusted(session)),
        person=lambda account_id: Person(account_id, f"{account_id}@e1.example", "A", "M"),
        find=lambda email: session.execute(select(Account.id).where(Account.email_key == email)).scalar_one_or_none(),
        translator=Languages([]).__getitem__,
    )
    yield Office(database, session, desk, Smartcard(CardSettings(), desk))
    session.remove()

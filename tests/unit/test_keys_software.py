"""What the software store keeps in the database, and for whom it opens."""

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import insert, select, update

from idp.db import Database
from idp.errors import Unavailable
from idp.keys.software import SoftwareStore
from idp.models import SigningKey as Row
from idp.sealing import Sealer


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(b"m" * 32)


def test_the_private_half_is_stored_sealed_only(database: Database, sealer: Sealer) -> None:
    kid = SoftwareStore(database, sealer).create("ES256").kid
    with database.read() as c:
        row = c.execute(select(Row.__table__)).one()
    der = sealer.unseal(row.sealed, f"signing-key/{kid}")
    private = SoftwareStore(database, sealer).open(kid)._private
    assert der == private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert der not in row.sealed
    assert set(row.public) == {"kty", "crv", "x", "y"}


def test_a_key_sealed_with_another_master_secret_does_not_open(database: Database, sealer: Sealer) -> None:
    kid = SoftwareStore(database, sealer).create("ES256").kid
    with pytest.raises(Unavailable, match="unsealing_failed"):
        SoftwareStore(database, Sealer(b"n" * 32)).open(kid)


def test_a_sealed_key_moved_to_another_row_does_not_open(database: Database, sealer: Sealer) -> None:
    store = SoftwareStore(database, sealer)
    one, other = store.create("ES256").kid, store.create("ES256").kid
    with database.begin() as c:
        sealed = c.execute(select(Row.sealed).where(Row.kid == one)).scalar_one()
        c.execute(update(Row).where(Row.kid == other).values(sealed=sealed))
    with pytest.raises(Unavailable, match="unsealing_failed"):
        SoftwareStore(database, sealer).open(other)


def test_a_key_of_another_store_is_not_opened_here(database: Database, sealer: Sealer) -> None:
    row = {"kid": "k", "alg": "ES256", "store": "pkcs11", "state": "active", "public": {}, "created_at": 1}
    with database.begin() as c:
        c.execute(insert(Row), row)
    with pytest.raises(Unavailable, match="key_not_found"):
        SoftwareStore(database, sealer).open("k")


def test_a_key_is_loaded_once(database: Database, sealer: Sealer) -> None:
    kid = SoftwareStore(database, sealer).create("RS256").kid
    store = SoftwareStore(database, sealer)
    assert store.open(kid) is store.open(kid)

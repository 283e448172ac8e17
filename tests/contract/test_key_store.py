"""What every key store must do. A new store joins by one line in `STORES`."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key
from sqlalchemy import select

from idp.db import Database
from idp.errors import Refused, Unavailable
from idp.keys import algorithms
from idp.keys.algorithms import ALGORITHMS
from idp.keys.software import SoftwareStore
from idp.keys.store import KeyStore, SigningKey
from idp.models import SigningKey as Row
from idp.sealing import Sealer

Opens = Callable[[Database], KeyStore]

STORES: dict[str, Opens] = {
    "software": lambda database: SoftwareStore(database, Sealer(b"m" * 32)),
}


@pytest.fixture(params=STORES)
def open_store(request: pytest.FixtureRequest) -> Opens:
    """Opens a store as one more process would."""
    return STORES[request.param]


@pytest.fixture
def store(open_store: Opens, database: Database) -> KeyStore:
    return open_store(database)


def joserfc_key(key: SigningKey) -> RSAKey | ECKey | OKPKey:
    """The public half as another library reads it."""
    made = import_key(algorithms.jwk(key.public_key()))  # type: ignore[arg-type]
    assert isinstance(made, RSAKey | ECKey | OKPKey)
    return made


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # RFC 9864 would have it named Ed25519
@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_signature_is_that_of_a_jws(store: KeyStore, alg: str) -> None:
    key = store.create(alg)
    assert key.alg == alg
    header = algorithms.base64url(b'{"alg":"%s"}' % alg.encode())
    message = f"{header}.{algorithms.base64url(b'payload')}"
    token = f"{message}.{algorithms.base64url(key.sign(message.encode()))}"
    assert jws.deserialize_compact(token, joserfc_key(key), algorithms=[alg]).payload == b"payload"


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_key_is_named_by_its_thumbprint(store: KeyStore, alg: str) -> None:
    key = store.create(alg)
    assert key.kid == joserfc_key(key).thumbprint()


@pytest.mark.parametrize("alg", ["RS256", "PS256"])
def test_an_rsa_key_has_2048_bits(store: KeyStore, alg: str) -> None:
    public = store.create(alg).public_key()
    assert isinstance(public, RSAPublicKey)
    assert public.key_size == 2048
    assert public.public_numbers().e == 65537


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_another_process_opens_the_same_key(store: KeyStore, open_store: Opens, database: Database, alg: str) -> None:
    made = store.create(alg)
    opened = open_store(database).open(made.kid)
    assert (opened.kid, opened.alg) == (made.kid, alg)
    algorithms.verify(alg, made.public_key(), b"message", opened.sign(b"message"))


def test_two_keys_are_two(store: KeyStore) -> None:
    one, other = store.create("ES256"), store.create("ES256")
    assert one.kid != other.kid
    with pytest.raises(Refused, match="bad_signature"):
        algorithms.verify("ES256", other.public_key(), b"message", one.sign(b"message"))


def test_a_destroyed_key_cannot_be_opened(store: KeyStore, open_store: Opens, database: Database) -> None:
    kid = store.create("ES256").kid
    store.destroy(kid)
    store.destroy(kid)
    for each in (store, open_store(database)):
        with pytest.raises(Unavailable, match="key_not_found"):
            each.open(kid)


def test_an_unknown_name_opens_nothing(store: KeyStore) -> None:
    with pytest.raises(Unavailable, match="key_not_found"):
        store.open("../../dev/null")
    store.destroy("' OR 1=1--")


def test_an_unknown_algorithm_makes_nothing(store: KeyStore) -> None:
    with pytest.raises(ValueError, match="none"):
        store.create("none")


def test_a_key_in_a_store_is_in_no_ring_yet(store: KeyStore, database: Database) -> None:
    store.create("ES256")
    with database.read() as c:
        states = set(c.execute(select(Row.state)).scalars())
    assert states <= {"gone"}


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
def test_eight_threads_sign_at_once(store: KeyStore, open_store: Opens, database: Database, alg: str) -> None:
    kid = store.create(alg).kid
    other = open_store(database)

    def sign(thread: int) -> list[tuple[bytes, bytes]]:
        messages = [f"{thread} {i}".encode() for i in range(200)]
        return [(message, other.open(kid).sign(message)) for message in messages]

    with ThreadPoolExecutor(8) as pool:
        signed = [pair for pairs in pool.map(sign, range(8)) for pair in pairs]
    assert len(signed) == 1600
    public = other.open(kid).public_key()
    for message, signature in signed:
        algorithms.verify(alg, public, message, signature)

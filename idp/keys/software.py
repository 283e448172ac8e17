"""The software store: private keys sealed in the database, loaded into memory where they sign."""

import threading

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from sqlalchemy import insert, select, update

from idp import clock
from idp.db import Database
from idp.errors import Unavailable
from idp.keys import algorithms
from idp.keys.algorithms import PrivateKey, PublicKey
from idp.models import SigningKey as Row
from idp.sealing import Sealer

_ROW = Row.__table__.c


class SoftwareKey:
    """A private key in memory."""

    def __init__(self, alg: str, private: PrivateKey) -> None:
        self._private = private
        self._public = private.public_key()
        self.alg = alg
        self.kid = algorithms.kid(self._public)

    def public_key(self) -> PublicKey:
        return self._public

    def sign(self, message: bytes) -> bytes:
        return algorithms.sign(self.alg, self._private, message)


class SoftwareStore:
    """Keys as PKCS#8 DER in `signing_keys.sealed`, bound to their `kid`. Shared by all threads of a process."""

    name = "software"

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database, self._sealer = database, sealer
        # Loading an RSA key costs 36 ms, more than a hundred signatures: each is loaded once in a process.
        self._loaded: dict[str, SoftwareKey] = {}
        self._loading = threading.Lock()

    def create(self, alg: str) -> SoftwareKey:
        """Make a key and keep it sealed, in the state `gone`: the ring decides when it comes into being."""
        private = algorithms.generate(alg)
        key = SoftwareKey(alg, private)
        der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        row = {
            "kid": key.kid,
            "alg": alg,
            "store": self.name,
            "state": "gone",
            "public": algorithms.jwk(key.public_key()),
            "sealed": self._sealer.seal(der, _place(key.kid)),
            "created_at": clock.now(),
        }
        with self._database.begin() as c:
            c.execute(insert(Row), row)
        self._loaded[key.kid] = key
        return key

    def open(self, kid: str) -> SoftwareKey:
        """The key of that name, loaded once. Raises `Unavailable` when it is not here or does not unseal."""
        key = self._loaded.get(kid)
        if key is None:
            with self._loading:
                key = self._loaded.get(kid) or self._load(kid)
                self._loaded[kid] = key
        return key

    def destroy(self, kid: str) -> None:
        """Erase the sealed bytes and forget the loaded key."""
        with self._database.begin() as c:
            c.execute(update(Row).where(_ROW.kid == kid, _ROW.store == self.name).values(sealed=None))
        with self._loading:
            self._loaded.pop(kid, None)

    def _load(self, kid: str) -> SoftwareKey:
        query = select(_ROW.alg, _ROW.sealed).where(_ROW.kid == kid, _ROW.store == self.name)
        with self._database.read() as c:
            row = c.execute(query).one_or_none()
        if row is None or row.sealed is None:
            raise Unavailable("key_not_found", kid)
        private = load_der_private_key(self._sealer.unseal(row.sealed, _place(kid)), password=None)
        assert isinstance(private, PrivateKey)
        return SoftwareKey(row.alg, private)


def _place(kid: str) -> str:
    return f"signing-key/{kid}"

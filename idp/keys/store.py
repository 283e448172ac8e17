"""The agreement with key stores: a key signs bytes, and nobody above asks where it lives.

A store knows a key by its `kid`, which follows from the public half: two stores cannot disagree about a name, and a
token device finds its object by the same name as the ring.
"""

from typing import Protocol

from idp.keys.algorithms import PublicKey


class SigningKey(Protocol):
    """A private key that can be used. Safe to share between threads."""

    @property
    def kid(self) -> str:
        """The thumbprint of the public half (RFC 7638)."""
        ...

    @property
    def alg(self) -> str:
        """The one algorithm of this key, as JOSE spells it."""
        ...

    def public_key(self) -> PublicKey:
        """The public half."""
        ...

    def sign(self, message: bytes) -> bytes:
        """A signature in the form of a JWS (RFC 7515). Raises `Unavailable` when the store cannot sign now."""
        ...


class KeyStore(Protocol):
    """Where private keys live. `name` is what the ring writes beside each key: `software`, `pkcs11`."""

    name: str

    def create(self, alg: str) -> SigningKey:
        """Make a key that `open` finds from now on, also in other processes. It is in no ring yet."""
        ...

    def open(self, kid: str) -> SigningKey:
        """The key of that name. Raises `Unavailable("key_not_found")` when this store does not hold it."""
        ...

    def destroy(self, kid: str) -> None:
        """Erase the private half. To destroy what is not there is no error."""
        ...

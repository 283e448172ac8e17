"""Argon2id under a pepper, behind a semaphore.

Stored form: `$argon2id$v=19$m=19456,t=2,p=1,keyid=1$SALT$MAC`, where MAC is HMAC-SHA-256 of the argon2id output with
the pepper, which is derived from the master secret and never in the database.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
import threading
import unicodedata

from argon2.low_level import Type, hash_secret_raw

from idp.plugin import Refused, Unavailable

MEMORY_KIB, PASSES, LANES = 19456, 2, 1
MAX_CHARACTERS, MAX_BYTES = 128, 512
QUEUE_SECONDS = 2.0
_STORED = re.compile(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+),keyid=1\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)")


class Hasher:
    """Hashes and checks passwords; at most one hash for each core runs at a time (memory is bounded by that)."""

    def __init__(self, pepper: bytes) -> None:
        self._pepper = pepper
        self._places = threading.BoundedSemaphore(os.cpu_count() or 1)

    def hash(self, password: str) -> str:
        """A fresh stored form of a password."""
        salt = secrets.token_bytes(16)
        mac = self._mac(password, salt, MEMORY_KIB, PASSES, LANES)
        return f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES},keyid=1${_b64(salt)}${_b64(mac)}"

    def verify(self, stored: str, password: str) -> None:
        """Raises `Refused("wrong_password")` unless the password is the one that was stored."""
        found = _STORED.fullmatch(stored)
        if not found:
            raise Unavailable("password_hash_unreadable")
        memory, passes, lanes = (int(found[n]) for n in (1, 2, 3))
        if not hmac.compare_digest(self._mac(password, _unb64(found[4]), memory, passes, lanes), _unb64(found[5])):
            raise Refused("wrong_password")

    def verify_nothing(self, password: str) -> None:
        """Spend what `verify` spends, for an account that has no password or does not exist."""
        self._mac(password, bytes(16), MEMORY_KIB, PASSES, LANES)

    def outdated(self, stored: str) -> bool:
        """Whether the stored form was made with other parameters than today's."""
        return f"$m={MEMORY_KIB},t={PASSES},p={LANES},keyid=1$" not in stored

    def _mac(self, password: str, salt: bytes, memory: int, passes: int, lanes: int) -> bytes:
        secret = normalised(password)
        if not self._places.acquire(timeout=QUEUE_SECONDS):
            raise Unavailable("hash_queue_full")
        try:
            raw = hash_secret_raw(secret, salt, passes, memory, lanes, 32, Type.ID)
        finally:
            self._places.release()
        return hmac.digest(self._pepper, raw, hashlib.sha256)


def normalised(password: str) -> bytes:
    """What is hashed: NFC in UTF-8, neither trimmed nor cut. Raises `Refused` past 128 characters or 512 bytes."""
    data = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    if len(password) > MAX_CHARACTERS or len(data) > MAX_BYTES:
        raise Refused("password_too_long")
    return data


def _b64(data: bytes) -> str:
    return base64.b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as e:
        raise Unavailable("password_hash_unreadable") from e

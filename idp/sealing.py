"""Secrets at rest: one master key, and what is derived from it for each purpose.

Owns the format of sealed values: `b"\\x01" + 12-byte nonce + AES-256-GCM ciphertext`, bound to a purpose and to the
name of the row that holds it, so that a sealed value moved to another row or column does not open.
"""

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from idp.errors import Misconfigured, Unavailable

_VERSION = b"\x01"


class Sealer:
    """Seals and unseals values, and keys the house's MACs. Holds the master key for the life of the process."""

    def __init__(self, master: bytes) -> None:
        if len(master) < 32:
            raise Misconfigured("secrets.master_file: the master secret must have at least 32 bytes")
        self._master = master
        self._aead = AESGCM(self.key("seal"))

    def key(self, purpose: str) -> bytes:
        """A 32-byte key for one purpose (HKDF, RFC 5869)."""
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"poterne " + purpose.encode()).derive(self._master)

    def seal(self, plain: bytes, name: str) -> bytes:
        """Encrypt `plain` for the place `name` ("signing-key/KID", "letter/7")."""
        nonce = secrets.token_bytes(12)
        return _VERSION + nonce + self._aead.encrypt(nonce, plain, name.encode())

    def unseal(self, sealed: bytes, name: str) -> bytes:
        """Decrypt what `seal` made for `name`. Raises `Unavailable` when it was made elsewhere or changed."""
        try:
            if sealed[:1] != _VERSION:
                raise InvalidTag
            return self._aead.decrypt(sealed[1:13], sealed[13:], name.encode())
        except (InvalidTag, ValueError) as e:
            raise Unavailable("unsealing_failed", f"{name}: sealed with another master secret, or changed") from e

    def mac(self, purpose: str) -> "Mac":
        """A keyed hash for one purpose."""
        return Mac(self.key(purpose))


class Mac:
    """HMAC-SHA-256 with a key of one purpose; `text` gives 43 URL-safe characters."""

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod=hashlib.sha256)

    def bytes(self, *parts: str) -> bytes:
        """The MAC over the parts, each with its length before it so that they cannot run into one another."""
        h = self._keyed.copy()
        for part in parts:
            data = part.encode("utf-8", "surrogatepass")
            h.update(len(data).to_bytes(4, "big") + data)
        return h.digest()

    def hex(self, *parts: str) -> str:
        """The MAC as 64 hexadecimal characters."""
        return self.bytes(*parts).hex()


def fingerprint(secret: str) -> str:
    """How a random one-time value of at least 128 bits is stored: its SHA-256 as 64 hexadecimal characters."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def token() -> str:
    """A fresh secret of 256 bits as 43 URL-safe characters."""
    return secrets.token_urlsafe(32)


def load_master(path: Path, *, create: bool) -> bytes:
    """Read the master secret. With `create` (loopback only) a missing file is made, mode 0600.

    Raises `Misconfigured` when the file is missing, too short, or readable by others.
    """
    if create and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Several processes may start at once: the first link wins, the others read its file.
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as f:
            f.write(secrets.token_hex(32) + "\n")
            f.flush()
            os.fsync(f.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return read_secret(path, "secrets.master_file")


def read_secret(path: Path, setting: str) -> bytes:
    """The content of a secret file without its last newline. Raises `Misconfigured` naming `setting`."""
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except OSError as e:
        raise Misconfigured(f"{setting}: cannot read {path}: {e.strerror}") from e
    if stat.S_IMODE(mode) & 0o077:
        raise Misconfigured(f"{setting}: {path} can be read by others; run: chmod 600 {path}")
    return content.removesuffix(b"\n").removesuffix(b"\r")

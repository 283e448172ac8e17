"""What is signed, and the Web eID authentication token that carries the signature.

The signed message is `hash(origin) || hash(nonce)`, both as UTF-8 text; the signature algorithm then hashes that
message itself. Nothing else is ever signed, which is why this program is no oracle.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from idp_signer import __version__
from idp_signer.certificates import Certificate, KeyKind

FORMAT: Final = "web-eid:1.0"

ECDSA_ALGORITHM: Final[Mapping[KeyKind, str]] = MappingProxyType(
    {KeyKind.P256: "ES256", KeyKind.P384: "ES384", KeyKind.P521: "ES512"}
)

# Visible ASCII: a challenge is base64 text, and a control character has no business in what is signed.
_NONCE: Final = re.compile(r"[!-~]{44,128}", re.ASCII)

# DER of DigestInfo{AlgorithmIdentifier{sha256, NULL}, OCTET STRING(32)} up to the digest (RFC 8017 §9.2, note 1).
_SHA256_DIGEST_INFO: Final = bytes.fromhex("3031300d060960864801650304020105000420")


@dataclass(frozen=True)
class Signed:
    """A signature and the name of its algorithm. ECDSA signatures are R‖S."""

    algorithm: str
    signature: bytes


def is_nonce(value: object) -> bool:
    """Whether `value` has the form of a challenge: 44 to 128 visible ASCII characters."""
    return isinstance(value, str) and _NONCE.fullmatch(value) is not None


def message(origin: str, nonce: str, kind: KeyKind) -> bytes:
    """The bytes that the card signs for this origin and challenge."""

    def digest(text: str) -> bytes:
        return hashlib.new(kind.hash_name, text.encode()).digest()

    return digest(origin) + digest(nonce)


def digest_info(data: bytes) -> bytes:
    """What a raw RSA PKCS#1 v1.5 mechanism must be given to sign `data` with SHA-256."""
    return _SHA256_DIGEST_INFO + hashlib.sha256(data).digest()


def token(certificate: Certificate, signed: Signed) -> dict[str, str]:
    """The Web eID authentication token, ready to be written as JSON."""
    return {
        "unverifiedCertificate": base64.b64encode(certificate.der).decode(),
        "algorithm": signed.algorithm,
        "signature": base64.b64encode(signed.signature).decode(),
        "format": FORMAT,
        "appVersion": f"poterne-signer/{__version__}",
    }

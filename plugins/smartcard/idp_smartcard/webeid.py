"""The Web eID authentication token: reading it strictly, and checking its signature. Knows no framework and no database.

The signed value is `hash(origin) || hash(nonce)`, both as UTF-8 text; the signature algorithm hashes that once more.
Hashing each part keeps origin and nonce from running into one another. The token has no claims: who somebody is comes
from the certificate alone, which the caller has to have verified. Everything wrong is a `Refused`, never another error.
"""

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from idp.plugin import Refused

MAX_CHARACTERS: Final = 10_000
_FORMAT: Final = re.compile(r"web-eid:1(?:\.([0-9]{1,4}))?", re.ASCII)
_ALGORITHM: Final = re.compile(r"(ES|PS|RS)(256|384|512)", re.ASCII)
_HASHES: Final[dict[str, type[hashes.SHA256 | hashes.SHA384 | hashes.SHA512]]] = {
    "256": hashes.SHA256,
    "384": hashes.SHA384,
    "512": hashes.SHA512,
}
# RFC 7518 §3.4: each ECDSA algorithm has its curve.
_CURVES: Final = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
RSA_BITS: Final = range(2048, 4097)


@dataclass(frozen=True)
class Token:
    """A well-formed token of which nothing has been verified. `certificate` is meant to be DER."""

    certificate: bytes
    algorithm: str
    signature: bytes


def read(text: str) -> Token:
    """Parse a token. Raises `Refused`: `token_too_long`, `token_malformed`, `token_format`, `token_algorithm`."""
    if len(text) > MAX_CHARACTERS:
        raise Refused("token_too_long", f"{len(text)} characters")
    try:
        members = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as e:
        raise Refused("token_malformed", f"not JSON ({type(e).__name__})") from e
    if not isinstance(members, dict):
        raise Refused("token_malformed", "not an object")
    version = _FORMAT.fullmatch(_text(members, "format"))
    if version is None:
        raise Refused("token_format", "not web-eid:1")
    # The list of signing certificates came with 1.1; an older token that carries it is of no known maker.
    if int(version[1] or 0) == 0 and "unverifiedSigningCertificates" in members:
        raise Refused("token_format", "signing certificates in a token before 1.1")
    algorithm = _text(members, "algorithm")
    if not _ALGORITHM.fullmatch(algorithm):
        raise Refused("token_algorithm", "unknown")
    return Token(_bytes(members, "unverifiedCertificate"), algorithm, _bytes(members, "signature"))


def message(origin: str, nonce: str, algorithm: str) -> bytes:
    """The bytes that a card signs with this algorithm for an origin and a nonce."""
    name = f"sha{algorithm[2:]}"
    return hashlib.new(name, origin.encode()).digest() + hashlib.new(name, nonce.encode()).digest()


def check(token: Token, public_key: bytes, origin: str, nonce: str) -> None:
    """Check the signature with the DER SubjectPublicKeyInfo of a verified certificate.

    Raises `Refused`: `token_algorithm` when it does not belong to the key, `signature_invalid`.
    """
    try:
        key = load_der_public_key(public_key)
    except Exception as e:  # the library raises several kinds for keys that it cannot load
        raise Refused("token_algorithm", f"the key cannot be loaded ({type(e).__name__})") from e
    signed = message(origin, nonce, token.algorithm)
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            _check_ecdsa(token, key, signed)
        elif isinstance(key, rsa.RSAPublicKey):
            _check_rsa(token, key, signed)
        else:
            raise Refused("token_algorithm", "a key of another kind")
    except InvalidSignature as e:
        raise Refused("signature_invalid") from e


def _check_ecdsa(token: Token, key: ec.EllipticCurvePublicKey, signed: bytes) -> None:
    curve = _CURVES.get(token.algorithm)
    if curve is None or not isinstance(key.curve, curve):
        raise Refused("token_algorithm", f"{token.algorithm} with a key on {key.curve.name}")
    size, order = (key.curve.key_size + 7) // 8, key.curve.group_order
    if len(token.signature) != 2 * size:
        raise Refused("signature_invalid", "wrong length")
    r, s = (int.from_bytes(half, "big") for half in (token.signature[:size], token.signature[size:]))
    if not (0 < r < order and 0 < s < order):
        raise Refused("signature_invalid", "r or s out of range")
    key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(_HASHES[token.algorithm[2:]]()))


def _check_rsa(token: Token, key: rsa.RSAPublicKey, signed: bytes) -> None:
    hash_ = _HASHES[token.algorithm[2:]]()
    if token.algorithm.startswith("ES") or key.key_size not in RSA_BITS:
        raise Refused("token_algorithm", f"{token.algorithm} with an RSA key of {key.key_size} bits")
    if len(token.signature) != (key.key_size + 7) // 8:
        raise Refused("signature_invalid", "wrong length")
    if token.algorithm.startswith("PS"):
        key.verify(token.signature, signed, padding.PSS(padding.MGF1(hash_), hash_.digest_size), hash_)
    else:
        key.verify(token.signature, signed, padding.PKCS1v15(), hash_)


def _text(members: dict[str, Any], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise Refused("token_malformed", f"{name} is not text")
    return value


def _bytes(members: dict[str, Any], name: str) -> bytes:
    value = _text(members, name)
    try:
        content = base64.b64decode(value.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as e:
        raise Refused("token_malformed", f"{name} is not base64") from e
    if not content or base64.b64encode(content).decode() != value:
        raise Refused("token_malformed", f"{name} is empty or not canonical base64")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member appears twice")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")

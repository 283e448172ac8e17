"""The signature algorithms of JOSE that the ring knows: what each makes, signs, checks and publishes.

Owns the shape of signatures (RFC 7518 §3, RFC 8037 §3.1), of public JWKs and of `kid` (RFC 7638). A key has exactly
one algorithm for its whole life.
"""

import base64
import hashlib
import json
from typing import Any, Literal, get_args

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from idp.errors import Refused

Algorithm = Literal["RS256", "ES256", "PS256", "EdDSA"]
ALGORITHMS: tuple[str, ...] = get_args(Algorithm)
RSA_BITS = 2048

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_PKCS1 = padding.PKCS1v15()
_PSS = padding.PSS(padding.MGF1(SHA256()), salt_length=32)
_ES256 = ec.ECDSA(SHA256())
_SHA256 = SHA256()


def base64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def generate(alg: str) -> PrivateKey:
    """A fresh private key for one algorithm."""
    match alg:
        case "RS256" | "PS256":
            return rsa.generate_private_key(65537, RSA_BITS)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
    raise ValueError(f"unknown algorithm {alg}")


def sign(alg: str, key: PrivateKey, message: bytes) -> bytes:
    """A signature in the form that a JWS carries: for ES256 R and S side by side, not DER."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, _PKCS1 if alg == "RS256" else _PSS, _SHA256)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(key.sign(message, _ES256))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return key.sign(message)


def verify(alg: str, key: PublicKey, message: bytes, signature: bytes) -> None:
    """Check a signature in the form of a JWS. Raises `Refused("bad_signature")`."""
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, _PKCS1 if alg == "RS256" else _PSS, _SHA256)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            if len(signature) != 64:
                raise InvalidSignature
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            key.verify(encode_dss_signature(r, s), message, _ES256)
        else:
            key.verify(signature, message)
    except InvalidSignature as e:
        raise Refused("bad_signature") from e


def jwk(key: PublicKey) -> dict[str, str]:
    """The public half as the required members of a JWK (RFC 7518 §6, RFC 8037 §2), and nothing else."""
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    if isinstance(key, ec.EllipticCurvePublicKey):
        point = key.public_numbers()
        return {"kty": "EC", "crv": "P-256", "x": _number(point.x, 32), "y": _number(point.y, 32)}
    return {"kty": "OKP", "crv": "Ed25519", "x": base64url(key.public_bytes_raw())}


def public_key(members: dict[str, Any]) -> PublicKey:
    """The public half from what `jwk` made."""
    if members["kty"] == "RSA":
        return rsa.RSAPublicNumbers(_integer(members["e"]), _integer(members["n"])).public_key()
    if members["kty"] == "EC":
        x, y = _integer(members["x"]), _integer(members["y"])
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    return ed25519.Ed25519PublicKey.from_public_bytes(_bytes(members["x"]))


def kid(key: PublicKey) -> str:
    """The name of a key: the SHA-256 thumbprint of its public half (RFC 7638), 43 characters."""
    canonical = json.dumps(jwk(key), sort_keys=True, separators=(",", ":"))
    return base64url(hashlib.sha256(canonical.encode()).digest())


def _number(value: int, size: int | None = None) -> str:
    return base64url(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _integer(text: str) -> int:
    return int.from_bytes(_bytes(text), "big")

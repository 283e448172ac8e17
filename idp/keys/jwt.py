"""JSON Web Tokens that the house signs and reads back: ID tokens, access tokens, logout tokens, signed answers.

One format: compact JWS (RFC 7515 §7.1) whose header has `alg`, `kid` and `typ` and nothing else.
"""

import base64
import binascii
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

import orjson

from idp.errors import Refused
from idp.keys.algorithms import base64url
from idp.keys.ring import Ring
from idp.keys.store import SigningKey

MAX_BYTES = 16 * 1024
# Headers that would let a token choose its own key or its own rules; none is ever written here.
_FORBIDDEN = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "zip", "b64"})
_BASE64URL = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def sign_jwt(key: SigningKey, claims: Mapping[str, Any], typ: str) -> str:
    """Sign claims. `typ` tells kinds of token apart (`JWT`, `at+jwt`, `logout+jwt`). Raises `Unavailable`."""
    message = f"{_header(key.kid, key.alg, typ)}.{base64url(orjson.dumps(claims))}"
    return f"{message}.{base64url(key.sign(message.encode('ascii')))}"


def verify_own(ring: Ring, token: str, typ: str, algorithms: Collection[str]) -> dict[str, Any]:
    """The claims of a token that this ring signed, of one kind, with one of the algorithms named.

    Lifetime, audience and issuer are the caller's to judge. Raises `Refused`.
    """
    if len(token) > MAX_BYTES:
        raise Refused("token_too_long")
    parts = token.split(".")
    if len(parts) != 3:
        raise Refused("token_malformed")
    header = _object(parts[0])
    if header.get("typ") != typ:
        raise Refused("token_of_another_kind")
    if not _FORBIDDEN.isdisjoint(header):
        raise Refused("header_not_allowed")
    alg, kid = header.get("alg"), header.get("kid")
    if not isinstance(alg, str) or alg not in algorithms:
        raise Refused("algorithm_not_allowed")
    if not isinstance(kid, str):
        raise Refused("unknown_key")
    key = ring.find(kid)
    if key.alg != alg:
        raise Refused("algorithm_not_allowed")
    key.verify(f"{parts[0]}.{parts[1]}".encode("ascii"), _decoded(parts[2]))
    return _object(parts[1])


@lru_cache(maxsize=64)
def _header(kid: str, alg: str, typ: str) -> str:
    return base64url(orjson.dumps({"alg": alg, "kid": kid, "typ": typ}))


def _decoded(part: str) -> bytes:
    """Strict base64url: one text for each value, so that a token cannot be respelt."""
    if not _BASE64URL.issuperset(part):
        raise Refused("token_malformed")
    try:
        data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as e:
        raise Refused("token_malformed") from e
    if base64url(data) != part:
        raise Refused("token_malformed")
    return data


def _object(part: str) -> dict[str, Any]:
    try:
        value = orjson.loads(_decoded(part))
    except orjson.JSONDecodeError as e:
        raise Refused("token_malformed") from e
    if not isinstance(value, dict):
        raise Refused("token_malformed")
    return value

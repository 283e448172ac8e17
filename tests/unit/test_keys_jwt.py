"""Our own JWTs: what is signed verifies, and whatever was touched is refused without a look outside."""

import time
from typing import Any

import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from services.databases import open_database

from idp.errors import Refused
from idp.keys.algorithms import ALGORITHMS, base64url
from idp.keys.jwt import MAX_BYTES, sign_jwt, verify_own
from idp.keys.ring import Ring
from idp.keys.software import SoftwareStore
from idp.sealing import Sealer

CLAIMS = {"sub": "a", "exp": 1, "name": "Zoé"}


@pytest.fixture
def ring(sqlite_url: str) -> Ring:
    database = open_database(sqlite_url)
    ring = Ring(database, SoftwareStore(database, Sealer(b"m" * 32)))
    ring.first_start()
    return ring


def forge(ring: Ring, header: dict[str, Any] | None = None, payload: bytes = b"{}", alg: str = "ES256") -> str:
    """A token that is truly signed, with header members over the usual ones."""
    key = ring.signing(alg)
    fields = {"alg": key.alg, "kid": key.kid, "typ": "JWT", **(header or {})}
    message = f"{base64url(orjson.dumps(fields))}.{base64url(payload)}"
    return f"{message}.{base64url(key.sign(message.encode()))}"


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # RFC 9864 would have it named Ed25519
@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_token_verifies_here_and_in_another_library(ring: Ring, alg: str) -> None:
    if alg not in {"RS256", "ES256"}:
        ring.activate(ring.create(alg), now=True)
    token = sign_jwt(ring.signing(alg), CLAIMS, "at+jwt")
    assert verify_own(ring, token, "at+jwt", [alg]) == CLAIMS
    read = jwt.decode(token, KeySet.import_key_set(orjson.loads(ring.published())), algorithms=[alg])
    assert read.claims == CLAIMS
    assert read.header == {"alg": alg, "kid": ring.signing(alg).kid, "typ": "at+jwt"}


def test_a_token_of_a_retired_key_verifies_and_of_a_revoked_one_does_not(ring: Ring) -> None:
    token = sign_jwt(ring.signing("ES256"), CLAIMS, "JWT")
    kid = ring.signing("ES256").kid
    ring.rotate("ES256", now=True)
    verify_own(ring, token, "JWT", ["ES256"])
    ring.revoke(kid)
    with pytest.raises(Refused, match="unknown_key"):
        verify_own(ring, token, "JWT", ["ES256"])


@pytest.mark.parametrize("name", ["jku", "x5u", "x5c", "jwk", "crit", "zip", "b64"])
def test_a_header_that_brings_its_own_rules_is_refused(ring: Ring, name: str) -> None:
    with pytest.raises(Refused, match="header_not_allowed"):
        verify_own(ring, forge(ring, {name: "x"}), "JWT", ["ES256"])


@pytest.mark.parametrize(
    ("header", "cause"),
    [
        ({"alg": "none"}, "algorithm_not_allowed"),
        ({"alg": "nOnE"}, "algorithm_not_allowed"),
        ({"alg": "HS256"}, "algorithm_not_allowed"),
        ({"alg": "RS256"}, "algorithm_not_allowed"),
        ({"alg": ["ES256"]}, "algorithm_not_allowed"),
        ({"kid": "../../dev/null"}, "unknown_key"),
        ({"kid": "' OR 1=1--"}, "unknown_key"),
        ({"kid": "http://127.0.0.1:9/k"}, "unknown_key"),
        ({"kid": "k" * 10_000}, "unknown_key"),
        ({"kid": None}, "unknown_key"),
        ({"kid": ["k"]}, "unknown_key"),
        ({"typ": "at+jwt"}, "token_of_another_kind"),
        ({"typ": None}, "token_of_another_kind"),
    ],
)
def test_a_header_that_is_not_ours_is_refused(ring: Ring, header: dict[str, Any], cause: str) -> None:
    with pytest.raises(Refused, match=cause):
        verify_own(ring, forge(ring, header), "JWT", ["ES256", "PS256"])


def test_a_key_verifies_with_its_own_algorithm_only(ring: Ring) -> None:
    token = forge(ring, {"alg": "PS256"}, alg="RS256")
    with pytest.raises(Refused, match="algorithm_not_allowed"):
        verify_own(ring, token, "JWT", ["RS256", "PS256"])


def test_an_algorithm_that_was_not_asked_for_is_refused(ring: Ring) -> None:
    with pytest.raises(Refused, match="algorithm_not_allowed"):
        verify_own(ring, forge(ring), "JWT", ["RS256"])


def test_changed_claims_are_refused(ring: Ring) -> None:
    header, _, signature = forge(ring, payload=b'{"sub":"a"}').split(".")
    with pytest.raises(Refused, match="bad_signature"):
        verify_own(ring, f"{header}.{base64url(b'{}')}.{signature}", "JWT", ["ES256"])


def test_a_signature_in_der_is_refused(ring: Ring) -> None:
    message, _, _ = forge(ring).rpartition(".")
    with pytest.raises(Refused, match="bad_signature"):
        verify_own(ring, f"{message}.{base64url(b'0' * 71)}", "JWT", ["ES256"])


def test_the_empty_signature_is_refused(ring: Ring) -> None:
    message, _, _ = forge(ring).rpartition(".")
    for alg in ("ES256", "RS256"):
        with pytest.raises(Refused, match=r"bad_signature|algorithm_not_allowed"):
            verify_own(ring, f"{message}.", "JWT", [alg])


def test_a_token_cannot_be_respelt(ring: Ring) -> None:
    token = forge(ring)
    # The last of 86 characters carries two bits only: the other four could say anything.
    last = token[-1]
    others = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" if c != last]
    for respelt in [token + "==", token + "\n", " " + token, *(token[:-1] + c for c in others)]:
        with pytest.raises(Refused):
            verify_own(ring, respelt, "JWT", ["ES256"])


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "a.b", "a.b.c.d", "é.é.é", "e30.e30.e30", "W10.e30.", "bnVsbA.e30.", "\ud800.e30.", "e30.e30"],
)
def test_what_is_no_token_is_refused(ring: Ring, token: str) -> None:
    with pytest.raises(Refused):
        verify_own(ring, token, "JWT", ["ES256"])


@pytest.mark.parametrize("payload", [b"[]", b"null", b"{", b"\xff", b"[" * 9000])
def test_a_payload_that_is_no_object_is_refused(ring: Ring, payload: bytes) -> None:
    with pytest.raises(Refused, match="token_malformed"):
        verify_own(ring, forge(ring, payload=payload), "JWT", ["ES256"])


def test_a_huge_token_is_refused_before_it_is_read(ring: Ring) -> None:
    began = time.perf_counter()
    with pytest.raises(Refused, match="token_too_long"):
        verify_own(ring, "a" * 1_000_000, "JWT", ["ES256"])
    with pytest.raises(Refused, match="token_too_long"):
        verify_own(ring, forge(ring, payload=b"[" * MAX_BYTES), "JWT", ["ES256"])
    assert time.perf_counter() - began < 0.1

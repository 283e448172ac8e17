"""The Web eID token: what is signed, and every way in which a token can be wrong."""

import base64
import hashlib
import json
import random
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from idp_smartcard import webeid
from services.authority import CardAuthority, key, raw, sign, token

from idp.errors import Refused

ORIGIN = "https://id.example"
NONCE = base64.b64encode(bytes(range(32))).decode()
CERTIFICATE = CardAuthority().issue()
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
GOOD = token(CERTIFICATE, NONCE, ORIGIN)


def spki(private: Any = None) -> bytes:
    public = (private or key()).public_key()
    return bytes(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def check(text: str, private: Any = None, origin: str = ORIGIN, nonce: str = NONCE) -> None:
    webeid.check(webeid.read(text), spki(private), origin, nonce)


def cause(text: str, private: Any = None, origin: str = ORIGIN, nonce: str = NONCE) -> str:
    with pytest.raises(Refused) as caught:
        check(text, private, origin, nonce)
    return caught.value.cause


def with_signature(signature: bytes, **changes: Any) -> str:
    return token(CERTIFICATE, NONCE, ORIGIN, signature=base64.b64encode(signature).decode(), **changes)


def signed(content: bytes) -> str:
    """A token whose signature is good, but over something else."""
    return with_signature(sign(key(), "ES256", content))


def digest(text: str, name: str = "sha256") -> bytes:
    return hashlib.new(name, text.encode()).digest()


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [
        ("ES256", "secp256r1"),
        ("ES384", "secp384r1"),
        ("ES512", "secp521r1"),
        *((f"{scheme}{bits}", "rsa2048") for scheme in ("RS", "PS") for bits in (256, 384, 512)),
    ],
)
def test_each_algorithm_is_accepted_with_its_key(algorithm: str, kind: str) -> None:
    check(token(CERTIFICATE, NONCE, ORIGIN, key(kind), algorithm), key(kind))


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [
        ("ES256", "rsa2048"),
        ("RS256", "secp256r1"),
        ("ES384", "secp256r1"),
        ("ES256", "secp384r1"),
        ("PS256", "secp384r1"),
        ("ES512", "rsa2048"),
        ("RS256", "rsa1024"),
        ("ES256", "secp256k1"),
    ],
)
def test_an_algorithm_of_another_key_is_refused(algorithm: str, kind: str) -> None:
    named = json.loads(GOOD) | {"algorithm": algorithm}
    assert cause(json.dumps(named), key(kind)) == "token_algorithm"


def test_a_key_that_cannot_sign_tokens_is_refused() -> None:
    assert cause(GOOD, ed25519.Ed25519PrivateKey.generate()) == "token_algorithm"
    with pytest.raises(Refused):
        webeid.check(webeid.read(GOOD), b"\x30\x00", ORIGIN, NONCE)


@pytest.mark.parametrize(("made", "claimed"), [("RS256", "PS256"), ("PS256", "RS256"), ("RS256", "RS512")])
def test_a_signature_of_another_scheme_is_refused(made: str, claimed: str) -> None:
    other = json.loads(token(CERTIFICATE, NONCE, ORIGIN, key("rsa2048"), made)) | {"algorithm": claimed}
    assert cause(json.dumps(other), key("rsa2048")) == "signature_invalid"


@pytest.mark.parametrize(
    "origin",
    [
        "https://id.example.evil",
        "http://id.example",
        "https://id.example/",
        "https://ID.example",
        "https://id.example:443",
        "https://id.exampl",
        "https://test.id.example",
        "null",
        "",
        "https://id.example\0",
        "https://íd.example",
    ],
)
def test_only_the_exact_origin_verifies(origin: str) -> None:
    assert cause(token(CERTIFICATE, NONCE, origin)) == "signature_invalid"
    assert cause(GOOD, origin=origin) == "signature_invalid"


def test_another_nonce_does_not_verify() -> None:
    assert cause(GOOD, nonce=NONCE[:-2] + "A=") == "signature_invalid"


@pytest.mark.parametrize(
    "content",
    [
        (ORIGIN + NONCE).encode(),
        digest(NONCE) + digest(ORIGIN),
        digest(ORIGIN) + digest(base64.b64decode(NONCE).hex()),
        digest(ORIGIN) + hashlib.sha256(base64.b64decode(NONCE)).digest(),
        NONCE.encode(),
        digest(NONCE),
        digest(ORIGIN + NONCE),
        digest(ORIGIN, "sha384") + digest(NONCE, "sha384"),
        b"",
    ],
    ids=[
        "concatenated",
        "swapped",
        "hex nonce",
        "decoded nonce",
        "nonce",
        "nonce hash",
        "one hash",
        "sha384",
        "nothing",
    ],
)
def test_a_signature_over_anything_else_is_refused(content: bytes) -> None:
    assert cause(signed(content)) == "signature_invalid"


def test_origin_and_nonce_cannot_run_into_one_another() -> None:
    shifted = ".eu" + NONCE
    assert cause(token(CERTIFICATE, shifted, ORIGIN), origin=ORIGIN + ".eu", nonce=NONCE) == "signature_invalid"


def test_a_signature_hashed_once_less_is_refused() -> None:
    inner = digest(ORIGIN) + digest(NONCE)
    prehashed = ec.ECDSA(hashes.SHA256())
    assert cause(with_signature(raw(key().sign(hashlib.sha256(inner).digest(), prehashed), 32))) == "signature_invalid"


RAW = sign(key(), "ES256", digest(ORIGIN) + digest(NONCE))
R, S = RAW[:32], RAW[32:]


@pytest.mark.parametrize(
    "signature",
    [
        RAW[:-1],
        RAW[:32],
        RAW + b"\0",
        b"\0" + RAW,
        S + R,
        bytes(64),
        R + bytes(32),
        bytes(32) + S,
        R + ORDER.to_bytes(32, "big"),
        ORDER.to_bytes(32, "big") + S,
        b"\xff" * 64,
        R + b"\xff" * 32,
        key().sign(digest(ORIGIN) + digest(NONCE), ec.ECDSA(hashes.SHA256())),
        R[:31] + bytes([R[31] ^ 1]) + S,
    ],
    ids=[
        "short",
        "half",
        "long",
        "shifted",
        "swapped",
        "zero",
        "s=0",
        "r=0",
        "s=n",
        "r=n",
        "max",
        "s max",
        "DER",
        "bit",
    ],
)
def test_a_damaged_ecdsa_signature_is_refused(signature: bytes) -> None:
    assert cause(with_signature(signature)) == "signature_invalid"


@pytest.mark.parametrize("size", [1, 255, 257, 1000])
def test_an_rsa_signature_of_another_length_is_refused(size: int) -> None:
    assert cause(with_signature(b"\1" * size, algorithm="RS256"), key("rsa2048")) == "signature_invalid"


@pytest.mark.parametrize("name", ["unverifiedCertificate", "algorithm", "signature", "format"])
@pytest.mark.parametrize("value", [None, 1, 1.5, True, [], {}, ["MII"], {"a": 1}], ids=str)
def test_a_member_that_is_missing_or_no_text_is_refused(name: str, value: Any) -> None:
    assert cause(token(CERTIFICATE, NONCE, ORIGIN, **{name: value})) == "token_malformed"


@pytest.mark.parametrize("name", ["unverifiedCertificate", "signature"])
@pytest.mark.parametrize("value", ["", "é", "a", "QUJD\n", " QUJD", "QUJD=", "QUJ_", "QR==", "QUJDR"])
def test_base64_is_strict(name: str, value: str) -> None:
    assert cause(token(CERTIFICATE, NONCE, ORIGIN, **{name: value})) == "token_malformed"


@pytest.mark.parametrize(
    "name", ["none", "", "NONE", "es256", "ES256K", "EdDSA", "HS256", "ES1", "ES256 ", "ES256\n", "ＥＳ256"]
)
def test_an_unknown_algorithm_is_refused(name: str) -> None:
    assert cause(token(CERTIFICATE, NONCE, ORIGIN, algorithm=name)) == "token_algorithm"


@pytest.mark.parametrize("name", ["web-eid:1", "web-eid:1.0", "web-eid:1.1", "web-eid:1.12"])
def test_the_first_version_is_understood(name: str) -> None:
    check(token(CERTIFICATE, NONCE, ORIGIN, format=name))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "web-eid",
        "web-eid:",
        "web-eid:2",
        "web-eid:10",
        "web-eid:10.0",
        "web-eid:1.",
        "web-eid:1.0.0",
        "Web-eid:1",
        " web-eid:1",
        "web-eid:1\n",
        "web-eid:1.x",
        "web-eid:0.9",
        "web-eid:1.１",
    ],
)
def test_another_format_is_refused(name: str) -> None:
    assert cause(token(CERTIFICATE, NONCE, ORIGIN, format=name)) == "token_format"


def test_signing_certificates_belong_to_version_1_1() -> None:
    extra: dict[str, Any] = {"unverifiedSigningCertificates": []}
    check(token(CERTIFICATE, NONCE, ORIGIN, format="web-eid:1.1", **extra))
    assert cause(token(CERTIFICATE, NONCE, ORIGIN, format="web-eid:1.0", **extra)) == "token_format"


def test_unknown_members_are_ignored() -> None:
    check(token(CERTIFICATE, NONCE, ORIGIN, action="web-eid:authenticate", useless=[1, {"a": None}]))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "true",
        "17",
        '"text"',
        "[]",
        f"[{GOOD}]",
        "{",
        GOOD + "x",
        GOOD + GOOD,
        "\ufeff" + GOOD,
        GOOD[:-1] + ', "format": "web-eid:1.0"}',
        GOOD[:-1] + ', "x": NaN}',
        GOOD[:-1] + ', "x": Infinity}',
        "[" * 9_999,
        '{"a":' * 1_900,
        "1" * 9_000,
        "\0",
        "\ud800",
    ],
    ids=lambda text: f"{len(text)} {text[:12]!r}",
)
def test_what_is_no_object_of_json_is_refused(text: str) -> None:
    assert cause(text) == "token_malformed"


def test_a_long_token_is_refused_at_once() -> None:
    check(GOOD + " " * (webeid.MAX_CHARACTERS - len(GOOD)))
    started = time.perf_counter()
    assert cause(GOOD + " " * (webeid.MAX_CHARACTERS + 1 - len(GOOD))) == "token_too_long"
    assert cause("x" * 1_000_000) == "token_too_long"
    assert time.perf_counter() - started < 0.2


def test_damaged_tokens_are_refused_and_never_crash() -> None:
    chance = random.Random(7)
    for _ in range(500):
        damaged = list(GOOD)
        for _ in range(chance.randint(1, 5)):
            damaged[chance.randrange(len(damaged))] = chr(
                chance.choice([chance.randrange(128), chance.randrange(0x11000)])
            )
        try:
            check("".join(damaged))
        except Refused:
            continue

"""Reading certificates: whatever a stranger sends is either one strict certificate or one refusal."""

import random
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from asn1crypto import pem
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, pkcs7
from services.authority import NOW, CardAuthority, key, name

from idp.errors import Refused
from idp.trust.certificate import one, read

AUTHORITY = CardAuthority()
LEAF = AUTHORITY.issue(policies=("1.2.3.4",))


def refused(der: bytes) -> str:
    with pytest.raises(Refused) as caught:
        read(der)
    assert caught.value.message is None
    return caught.value.cause


def indefinite(der: bytes) -> bytes:
    """The same certificate with an outer length that only BER allows."""
    assert der[1] == 0x82
    return der[:1] + b"\x80" + der[4:] + b"\0\0"


def long_length(der: bytes) -> bytes:
    return der[:1] + b"\x83\x00" + der[2:]


def pkcs7_of(der: bytes) -> bytes:
    return bytes(pkcs7.serialize_certificates([x509.load_der_x509_certificate(der)], Encoding.DER))


def twice_an_extension(body: Any) -> None:
    extensions = body["extensions"]
    extensions.append(extensions[0].copy())


def broken_usage(der: bytes) -> bytes:
    """The same certificate with a keyUsage that is no bit string."""
    assert der.count(bytes.fromhex("040403020780")) == 1
    return der.replace(bytes.fromhex("040403020780"), bytes.fromhex("040402020780"))


def test_what_is_needed_is_read() -> None:
    found = read(
        AUTHORITY.issue(holder=name("Alice Martin", serial_number="PNOFR-17"), policies=("1.2.3.4",), serial=0xAB)
    )
    assert (found.subject, found.issuer, found.serial) == ("Alice Martin (PNOFR-17)", "Autorité d’essai", "ab")
    assert (found.key, found.key_bits, found.usage) == ("secp256r1", 256, frozenset({"digital_signature"}))
    assert (found.purposes, found.policies) == (frozenset({"client_auth"}), frozenset({"1.2.3.4"}))
    assert not found.authority
    assert (found.not_before, found.not_after) == (NOW - 10 * 86400, NOW + 300 * 86400)
    assert found.signature_hash == "sha256"


def test_a_name_cannot_forge_the_display() -> None:
    assert read(AUTHORITY.issue(holder=name("Alice\u202eMartin\n"))).subject == "Alice\ufffdMartin\ufffd"


def test_a_name_without_common_name_is_shown_whole() -> None:
    organisation = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Cabinet Martin")])
    assert "Cabinet Martin" in read(AUTHORITY.issue(holder=organisation)).subject


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30",
        b"not a certificate",
        LEAF + b"\0",
        LEAF[:-1],
        indefinite(LEAF),
        long_length(LEAF),
        pkcs7_of(LEAF),
        key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        AUTHORITY.crl(),
        pem.armor("CERTIFICATE", LEAF),
        AUTHORITY.signed_again(LEAF, twice_an_extension),
        broken_usage(LEAF),
        LEAF + LEAF,
        b"\x30\x82\x1f\x00" * 2000,
        b"\x24\x80" * 4000,
        b"\0" * 8192,
    ],
    ids=(f"case {n}" for n in count()),  # the bytes differ in each test process, the names may not
)
def test_anything_else_is_unreadable(der: bytes) -> None:
    assert refused(der) == "certificate_unreadable"


def test_a_megabyte_is_refused_at_once() -> None:
    started = time.perf_counter()
    assert refused(AUTHORITY.issue()[:4] + b"\x30" * 1_000_000) == "certificate_unreadable"
    assert time.perf_counter() - started < 0.2


def test_deep_nesting_is_refused_quickly_and_without_a_crash() -> None:
    nested = b""
    while len(nested) < 8000:
        length = len(nested)
        size = (
            bytes([length])
            if length < 128
            else b"\x82" + length.to_bytes(2, "big")
            if length > 255
            else bytes([0x81, length])
        )
        nested = b"\x30" + size + nested
    started = time.perf_counter()
    assert refused(nested) == "certificate_unreadable"
    assert time.perf_counter() - started < 0.2


def test_damaged_certificates_are_read_or_refused_but_never_crash() -> None:
    chance = random.Random(20)
    for _ in range(600):
        damaged = bytearray(LEAF)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            read(bytes(damaged))
        except Refused:
            continue


def test_two_algorithm_names_that_differ_are_refused() -> None:
    sha256 = bytes.fromhex("2a8648ce3d040302")  # ecdsa-with-SHA256, once signed and once around the signature
    assert LEAF.count(sha256) == 2
    outer = LEAF.rindex(sha256)
    assert refused(LEAF[:outer] + bytes.fromhex("2a8648ce3d040303") + LEAF[outer + 8 :]) == "certificate_unreadable"


@pytest.mark.parametrize("wrap", [lambda der: der, lambda der: pem.armor("CERTIFICATE", der)], ids=["der", "pem"])
def test_a_file_holds_one_certificate(wrap: Callable[[bytes], bytes]) -> None:
    assert one(wrap(LEAF)) == LEAF


@pytest.mark.parametrize(
    "file",
    [
        pem.armor("CERTIFICATE", LEAF) * 2,
        pem.armor("X509 CRL", LEAF),
        b"-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n",
    ],
)
def test_a_file_with_anything_but_one_certificate_is_refused(file: bytes) -> None:
    with pytest.raises(Refused) as caught:
        read(one(file))
    assert caught.value.cause == "certificate_unreadable"

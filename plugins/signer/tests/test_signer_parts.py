"""The parts that decide alone: origins, certificates, what is signed, how a module's errors are read."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID
from idp_signer import origins, webeid
from idp_signer.certificates import Card, KeyKind, NotOffered, now, offers, read
from idp_signer.origins import BadOrigin, OriginBook
from idp_signer.tokens import refusal_of, sign_rsa
from pkcs11 import Mechanism, exceptions

IssueCertificate = Callable[..., bytes]


@pytest.mark.parametrize(
    "origin",
    [
        "https://id.office.example",
        "https://id.office.example:8443",
        "http://localhost:8000",
        "http://127.0.0.1",
        "http://[::1]:8001",
        "http://demo.localhost",
        "https://xn--bro-hoa.example",
        "http://127.0.0.2:1",
    ],
)
def test_an_origin_in_its_canonical_form_is_taken_as_it_is(origin: str) -> None:
    assert origins.parse(origin) == origin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "https://",
        "https://a/",
        "https://a/b",
        "https://a?b",
        "https://u@a",
        "https://A",
        "https://a:443",
        "http://localhost:80",
        "https://a:0",
        "https://a:70000",
        "https://a:08",
        "https://büro.example",
        "ftp://a",
        "http://a.example",
        "http://localhost.example",
        "http://127.0.0.1.example",
        "https://a..b",
        "https://-a",
        "http://[::2]",
        "http://[0:0:0:0:0:0:0:1]",
        "http://[::1",
        "https://a\n",
        "https://a.",
        "*",
        "https://*.a",
    ],
)
def test_anything_else_is_no_origin(text: str) -> None:
    with pytest.raises(BadOrigin):
        origins.parse(text)


@pytest.mark.parametrize(
    "typed", ["https://id.office.example", "HTTPS://Id.Office.Example/", " https://id.office.example:443/ "]
)
def test_an_address_typed_by_a_person_becomes_an_origin(typed: str) -> None:
    assert origins.from_argument(typed) == "https://id.office.example"


def test_only_loopback_and_dot_test_are_origins_for_tests() -> None:
    accepted = ["http://localhost:1", "http://127.0.0.1:1", "https://id.office.test", "https://a.localhost"]
    assert all(origins.is_for_tests(origin) for origin in accepted)
    refused = ["https://id.office.example", "https://test", "https://office.test.example", "https://mytest"]
    assert not any(origins.is_for_tests(origin) for origin in refused)


@pytest.mark.parametrize("content", ["", "[]", '{"https://a.example": "yes"}', '{"http://a.example": true}', "\xff"])
def test_a_damaged_list_of_origins_is_not_trusted(tmp_path: Path, content: str) -> None:
    file = tmp_path / "origins.json"
    file.write_text(content, encoding="latin-1")
    file.chmod(0o600)
    with pytest.raises(BadOrigin):
        OriginBook([], file)


def test_a_list_of_origins_that_others_can_write_is_not_trusted(tmp_path: Path) -> None:
    file = tmp_path / "origins.json"
    file.write_text('{"https://evil.example": true}')
    file.chmod(0o666)
    with pytest.raises(BadOrigin, match="0600"):
        OriginBook([], file)


def test_two_programs_of_one_person_keep_each_others_answers(tmp_path: Path) -> None:
    file = tmp_path / "poterne-signer" / "origins.json"
    one, two = OriginBook([], file), OriginBook([], file)
    one.store("https://one.example", True)
    two.store("https://two.example", False)
    assert [OriginBook([], file).answer(f"https://{name}.example") for name in ("one", "two", "three")] == [
        True,
        False,
        None,
    ]


def test_the_answers_are_kept_in_the_xdg_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert origins.default_file() == tmp_path / "poterne-signer" / "origins.json"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert origins.default_file() == tmp_path / ".config" / "poterne-signer" / "origins.json"


def test_a_certificate_for_signing_in_is_read(issue: IssueCertificate) -> None:
    der = issue(purposes=(ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.EMAIL_PROTECTION))
    certificate = read(der)
    assert certificate.sha256 == hashlib.sha256(der).hexdigest()
    assert (certificate.holder, certificate.issuer, certificate.key) == ("Alice Martin", "Alice Martin", KeyKind.P256)


@pytest.mark.parametrize(
    "said",
    [
        {"usage": None},
        {"usage": ("content_commitment",)},
        {"usage": ("key_agreement",)},
        {"authority": True},
        {"purposes": (ExtendedKeyUsageOID.SERVER_AUTH,)},
        {"purposes": (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)},
        {"public_key": ec.generate_private_key(ec.SECP256K1()).public_key()},
        {"public_key": ed25519.Ed25519PrivateKey.generate().public_key()},
        {"public_key": rsa.generate_private_key(65537, 1024).public_key()},
        {"name": "x" * 64, "purposes": (ExtendedKeyUsageOID.CLIENT_AUTH, *[ExtendedKeyUsageOID.OCSP_SIGNING] * 900)},
    ],
    ids="-".join,
)
def test_a_certificate_of_another_purpose_or_kind_is_not_offered(issue: IssueCertificate, said: dict[str, Any]) -> None:
    with pytest.raises(NotOffered):
        read(issue(**said))


def test_no_damage_to_a_certificate_escapes_the_parser(issue: IssueCertificate) -> None:
    der = issue()
    for damaged in [b"", b"0", der[:-1], der + b"\0", b"\x30\x80" * 4000]:
        with pytest.raises(NotOffered):
            read(damaged)
    for position in range(len(der)):
        damaged = der[:position] + bytes([der[position] ^ 0xFF]) + der[position + 1 :]
        try:
            read(damaged)
        except NotOffered:
            continue


def test_a_name_cannot_forge_the_display(issue: IssueCertificate) -> None:
    assert read(issue(name="Alice\x1b[2J\u202enitraM")).holder == "Alice\ufffd[2J\ufffdnitraM"


def test_the_list_puts_valid_before_expired_and_later_before_earlier(issue: IssueCertificate) -> None:
    ders = [issue(days=days) for days in (-1, 10, -20, 30)] + [issue(days=60, starts=5)]
    listed = offers([Card(read(der), 0, b"", "", b"") for der in ders * 2], now())
    assert [offer.card.certificate.der for offer in listed] == [ders[i] for i in (4, 3, 1, 0, 2)]
    assert [offer.expired for offer in listed] == [False, False, False, True, True]
    assert [offer.choosable for offer in listed] == [False, True, True, False, False]


def test_what_is_signed_is_the_two_hashes_one_after_the_other() -> None:
    for kind, name in ((KeyKind.RSA, "sha256"), (KeyKind.P384, "sha384"), (KeyKind.P521, "sha512")):
        expected = hashlib.new(name, b"https://a.example").digest() + hashlib.new(name, b"nonce").digest()
        assert webeid.message("https://a.example", "nonce", kind) == expected


@pytest.mark.parametrize(
    ("mechanisms", "algorithm"),
    [
        ({Mechanism.SHA256_RSA_PKCS, Mechanism.RSA_PKCS, Mechanism.RSA_PKCS_PSS}, "RS256"),
        ({Mechanism.RSA_PKCS, Mechanism.SHA256_RSA_PKCS_PSS}, "RS256"),
        ({Mechanism.SHA256_RSA_PKCS_PSS}, "PS256"),
        ({Mechanism.RSA_PKCS_PSS}, "PS256"),
    ],
)
def test_each_kind_of_rsa_token_gives_a_signature_that_verifies(mechanisms: set[Mechanism], algorithm: str) -> None:
    key = rsa.generate_private_key(65537, 2048)
    message = b"m" * 64

    def token(data: bytes, mechanism: Mechanism, parameters: object = None) -> bytes:
        if mechanism is Mechanism.SHA256_RSA_PKCS:
            return key.sign(data, padding.PKCS1v15(), SHA256())
        if mechanism is Mechanism.RSA_PKCS:
            numbers = key.private_numbers()
            padded = b"\0\1" + b"\xff" * (256 - 3 - len(data)) + b"\0" + data
            return pow(int.from_bytes(padded, "big"), numbers.d, numbers.public_numbers.n).to_bytes(256, "big")
        assert parameters is not None, "without parameters a token would use SHA-1"
        digest = Prehashed(SHA256()) if mechanism is Mechanism.RSA_PKCS_PSS else SHA256()
        return key.sign(data, padding.PSS(padding.MGF1(SHA256()), 32), digest)

    signed = sign_rsa(token, mechanisms, message)
    scheme = padding.PKCS1v15() if algorithm == "RS256" else padding.PSS(padding.MGF1(SHA256()), 32)
    assert signed.algorithm == algorithm
    key.public_key().verify(signed.signature, message, scheme, SHA256())


def test_a_token_without_any_rsa_signature_is_an_error() -> None:
    with pytest.raises(exceptions.MechanismInvalid):
        sign_rsa(lambda *_: b"", {Mechanism.ECDSA}, b"")


@pytest.mark.parametrize(
    ("raised", "word"),
    [
        (exceptions.PinLocked(), "pin_locked"),
        (exceptions.DeviceRemoved(), "card_removed"),
        (exceptions.TokenNotPresent(), "card_removed"),
        (exceptions.NoSuchToken(), "card_removed"),
        (exceptions.FunctionCancelled(), "user_cancelled"),
        (exceptions.NoSuchKey(), "no_certificate"),
        (exceptions.GeneralError(), "token_error"),
        (exceptions.PinExpired(), "token_error"),
        (exceptions.PKCS11Error("unknown"), "token_error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_every_error_of_a_module_has_a_word(raised: exceptions.PKCS11Error, word: str) -> None:
    assert refusal_of(raised).word == word

"""A certification authority for tests, which issues any oddity on demand, and the card side of a Web eID token."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from typing import Any

from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = 1_750_000_000
CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
_KEYS: dict[str, Callable[[], Any]] = {
    "rsa1024": lambda: rsa.generate_private_key(65537, 1024),
    "rsa2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa-exponent-3": lambda: rsa.generate_private_key(3, 2048),
    "secp256r1": lambda: ec.generate_private_key(ec.SECP256R1()),
    "secp384r1": lambda: ec.generate_private_key(ec.SECP384R1()),
    "secp521r1": lambda: ec.generate_private_key(ec.SECP521R1()),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
}


@cache
def key(kind: str = "secp256r1", number: int = 0) -> Any:
    """A private key, the same one for the same words in a test run."""
    del number
    return _KEYS[kind]()


def at(instant: int) -> datetime:
    return datetime.fromtimestamp(instant, UTC)


def usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{n: n in names for n in _USAGES})


def name(common: str, **more: str) -> x509.Name:
    extra = [x509.NameAttribute(getattr(NameOID, kind.upper()), value) for kind, value in more.items()]
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common), *extra])


@dataclass
class CardAuthority:
    """An authority that issues cards. Days count from `NOW`."""

    common: str = "Autorité d’essai"
    number: int = 0
    starts: int = -1000
    ends: int = 3000
    usages: tuple[str, ...] | None = ("key_cert_sign", "crl_sign")
    is_authority: bool = True
    path_length: int | None = 0
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    kind: str = "secp256r1"

    @property
    def key(self) -> Any:
        return key(self.kind, 1000 + self.number)

    @cached_property
    def der(self) -> bytes:
        builder = _dates(x509.CertificateBuilder(), self.starts, self.ends).serial_number(7)
        builder = builder.subject_name(name(self.common)).issuer_name(name("Racine d’essai"))
        builder = builder.public_key(self.key.public_key())
        length = self.path_length if self.is_authority else None
        builder = builder.add_extension(x509.BasicConstraints(self.is_authority, length), critical=True)
        if self.usages is not None:
            builder = builder.add_extension(usage(*self.usages), critical=True)
        for extension, critical in self.extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(key("secp256r1", 999), hashes.SHA256()).public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return x509.load_der_x509_certificate(self.der).public_bytes(Encoding.PEM)

    def issue(
        self,
        public_key: Any = None,
        *,
        usages: tuple[str, ...] | None = ("digital_signature",),
        purposes: tuple[x509.ObjectIdentifier, ...] | None = (CLIENT_AUTH,),
        policies: tuple[str, ...] = (),
        starts: float = -10,
        ends: float = 300,
        holder: x509.Name | None = None,
        serial: int = 4242,
        is_authority: bool = False,
        extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
    ) -> bytes:
        """A certificate for a card, DER."""
        builder = _dates(x509.CertificateBuilder(), starts, ends).serial_number(serial)
        builder = builder.subject_name(holder or name("Alice Martin")).issuer_name(name(self.common))
        builder = builder.public_key(public_key or key().public_key())
        builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        if usages is not None:
            builder = builder.add_extension(usage(*usages), critical=True)
        if purposes is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        if policies:
            listed = [x509.PolicyInformation(x509.ObjectIdentifier(p), None) for p in policies]
            builder = builder.add_extension(x509.CertificatePolicies(listed), critical=False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def crl(
        self,
        *serials: int,
        starts: float = -1,
        ends: float = 30,
        revoked_on: float = -5,
        number: int | None = 1,
        extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
        signed_by: "CardAuthority | None" = None,
    ) -> bytes:
        """A list of revoked certificates, DER."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(name(self.common))
        builder = builder.last_update(_day(starts)).next_update(_day(ends))
        if number is not None:
            builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_day(revoked_on))
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign((signed_by or self).key, hashes.SHA256()).public_bytes(Encoding.DER)

    def signed_again(
        self, der: bytes, change: Callable[[Any], None] = lambda _: None, algorithm: str = "sha256"
    ) -> bytes:
        """A certificate changed in ways that no builder allows, and signed over `algorithm`."""
        parsed = asn1.Certificate.load(der)
        body = parsed["tbs_certificate"]
        body["signature"] = {"algorithm": f"{algorithm}_ecdsa"}
        change(body)
        hash_: Any = {"sha256": hashes.SHA256(), "sha1": hashes.SHA1()}[algorithm]
        signature = self.key.sign(body.dump(force=True), ec.ECDSA(hash_))
        new = {"tbs_certificate": body, "signature_algorithm": body["signature"], "signature_value": signature}
        return bytes(asn1.Certificate(new).dump(force=True))


def raw(signature: bytes, size: int) -> bytes:
    """An ECDSA signature as R‖S."""
    return b"".join(number.to_bytes(size, "big") for number in decode_dss_signature(signature))


def sign(private: Any, algorithm: str, signed: bytes) -> bytes:
    """What a card answers for these bytes, in the form of a Web eID token."""
    kinds: dict[str, Any] = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
    hash_ = kinds[algorithm[2:]]()
    if algorithm.startswith("ES"):
        return raw(private.sign(signed, ec.ECDSA(hash_)), (private.key_size + 7) // 8)
    pss = padding.PSS(padding.MGF1(hash_), hash_.digest_size)
    return bytes(private.sign(signed, pss if algorithm.startswith("PS") else padding.PKCS1v15(), hash_))


def token(
    certificate: bytes,
    nonce: str,
    origin: str,
    private: Any = None,
    signed_with: str = "ES256",
    **changes: Any,
) -> str:
    """A Web eID token as the signer makes it; `changes` replace members, None removes one."""
    digest = [hashlib.new(f"sha{signed_with[2:]}", text.encode()).digest() for text in (origin, nonce)]
    members: dict[str, Any] = {
        "unverifiedCertificate": base64.b64encode(certificate).decode(),
        "algorithm": signed_with,
        "signature": base64.b64encode(sign(private or key(), signed_with, b"".join(digest))).decode(),
        "format": "web-eid:1.0",
        "appVersion": "test/1",
    }
    return json.dumps({k: v for k, v in {**members, **changes}.items() if v is not None})


def _day(days: float) -> datetime:
    return at(NOW) + timedelta(days=days)


def _dates(builder: x509.CertificateBuilder, starts: float, ends: float) -> x509.CertificateBuilder:
    return builder.not_valid_before(_day(starts)).not_valid_after(_day(ends))

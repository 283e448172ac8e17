"""What is read from a card's certificates, and which of them may be offered for a sign-in.

Certificates come from a card, thus from strangers: they are parsed strictly and whole (asn1crypto is lazy by default),
and whatever does not parse is not offered.
"""

import enum
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, Final

# asn1crypto carries no type information; loading it by name keeps that fact in this one place.
x509: Any = import_module("asn1crypto.x509")

MAX_BYTES: Final = 8192


class KeyKind(enum.Enum):
    """The kinds of key a Web eID token can be signed with: hash, and length of an R‖S signature (0 for RSA)."""

    RSA = ("sha256", 0)
    P256 = ("sha256", 64)
    P384 = ("sha384", 96)
    P521 = ("sha512", 132)

    @property
    def hash_name(self) -> str:
        """The hash that belongs to the key's signature algorithm, as `hashlib` names it."""
        return self.value[0]

    @property
    def signature_length(self) -> int:
        """Bytes of a raw ECDSA signature of this kind, 0 for RSA."""
        return self.value[1]


_CURVES: Final = {"secp256r1": KeyKind.P256, "secp384r1": KeyKind.P384, "secp521r1": KeyKind.P521}


@dataclass(frozen=True)
class Certificate:
    """One certificate that can sign in, with what a person needs to recognise it."""

    der: bytes
    sha256: str
    holder: str
    issuer: str
    not_before: datetime
    not_after: datetime
    key: KeyKind
    rsa_modulus: int | None


@dataclass(frozen=True)
class Card:
    """A certificate on a token. `slot`, `serial` and `label` find the token again, `key_id` the private key."""

    certificate: Certificate
    slot: int
    serial: bytes
    label: str
    key_id: bytes


@dataclass(frozen=True)
class Offer:
    """One line of the certificate list; `choosable` is false outside the validity period."""

    card: Card
    expired: bool
    choosable: bool


class NotOffered(ValueError):
    """The certificate cannot be parsed or is not one for signing in; the message says why."""


def read(der: bytes) -> Certificate:
    """Parse a certificate and check that it is a leaf made for signing in.

    Wanted: no certification authority, keyUsage with digitalSignature, extendedKeyUsage absent or with clientAuth, and
    RSA of 2048 to 4096 bits or one of the three NIST curves. Raises `NotOffered` for everything else.
    """
    if len(der) > MAX_BYTES:
        raise NotOffered("too large")
    try:
        return _read(der)
    except NotOffered:
        raise
    except Exception as error:  # the parser raises many kinds on hostile input; none may escape
        raise NotOffered(f"unreadable ({type(error).__name__})") from error


def _read(der: bytes) -> Certificate:
    parsed = x509.Certificate.load(der, strict=True)
    _ = parsed.native  # forces the whole structure, so that nothing malformed waits for a later access
    constraints = parsed.basic_constraints_value
    if constraints is not None and constraints["ca"].native:
        raise NotOffered("a certification authority")
    usage = parsed.key_usage_value
    if usage is None or "digital_signature" not in usage.native:
        raise NotOffered("not for digital signatures")
    purposes = parsed.extended_key_usage_value
    if purposes is not None and "client_auth" not in purposes.native:
        raise NotOffered("not for client authentication")
    kind, modulus = _key(parsed.public_key)
    return Certificate(
        der=der,
        sha256=hashlib.sha256(der).hexdigest(),
        holder=_name(parsed.subject),
        issuer=_name(parsed.issuer),
        not_before=parsed.not_valid_before,
        not_after=parsed.not_valid_after,
        key=kind,
        rsa_modulus=modulus,
    )


def _key(public_key: Any) -> tuple[KeyKind, int | None]:
    if public_key.algorithm == "rsa":
        modulus = int(public_key["public_key"].parsed["modulus"].native)
        if not 2048 <= modulus.bit_length() <= 4096:
            raise NotOffered("an RSA key of unusual size")
        return KeyKind.RSA, modulus
    if public_key.algorithm == "ec":
        form, curve = public_key.curve
        if form == "named" and curve in _CURVES:
            return _CURVES[curve], None
    raise NotOffered("a key of another kind")


def _name(name: Any) -> str:
    """The common name, or the whole name where there is none, without characters that could forge the display."""
    common = name.native.get("common_name")
    text = common if isinstance(common, str) else name.human_friendly
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def now() -> datetime:
    """The time validity is judged at. This program stands alone, so the machine's clock is read here and only here."""
    return datetime.now(UTC)  # noqa: TID251 - the house's clock is not within reach


def offers(cards: Iterable[Card], at: datetime) -> list[Offer]:
    """The list a person chooses from, each certificate once, in an order that never depends on the token; `at` is the time.

    Not expired before expired, later expiry before earlier, then by SHA-256.
    """
    unique: dict[str, Offer] = {}
    for card in cards:
        expired = at > card.certificate.not_after
        choosable = not expired and at >= card.certificate.not_before
        unique.setdefault(card.certificate.sha256, Offer(card, expired, choosable))
    return sorted(unique.values(), key=_rank)


def _rank(offer: Offer) -> tuple[bool, float, str]:
    certificate = offer.card.certificate
    return (offer.expired, -certificate.not_after.timestamp(), certificate.sha256)

"""Lists of revoked certificates: which ones may be kept for an authority, and whether one of them names a certificate.

A list serves only when it is complete, current and signed by the authority itself: one that would be useless at every
sign-in is better refused by the command that brings it. Path libraries are not asked: they look for the signer of a list
above the anchor, where there is nothing, forgive an entry dated after the instant of validation, and take a second for
a hundred thousand entries.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from asn1crypto import crl
from pyhanko_certvalidator.revinfo.validate_crl import find_cert_in_list
from pyhanko_certvalidator.sig_validate import DEFAULT_SIGNATURE_VALIDATOR

from idp import clock
from idp.errors import Invalid, Refused
from idp.language import N_
from idp.trust.certificate import Certificate, unwrap
from idp.trust.profile import WEAK_HASHES

MAX_BYTES = 16 * 1024 * 1024  # over half a million entries
REVOKED = N_(
    "The certificate of this card has been revoked by its issuer and can no longer be used. Sign in another way."
)
UNCHECKED = N_("Whether this card is still valid could not be checked. Try again later, or sign in another way.")
_KNOWN = frozenset({"crl_number", "authority_key_identifier", "issuing_distribution_point", "issuer_alt_name"})
_PARTIAL = ("only_contains_ca_certs", "only_contains_attribute_certs", "indirect_crl", "only_some_reasons")


@dataclass(frozen=True)
class RevocationList:
    """A list as its authority signed it: from when, until when (Unix seconds), and its number if it has one.

    `points` are the places (DER general names) that it speaks for, None when it speaks for every certificate.
    """

    der: bytes = field(repr=False)
    this_update: int
    next_update: int
    number: int | None
    points: frozenset[bytes] | None
    parsed: Any = field(repr=False, compare=False)


def read(file: bytes) -> RevocationList:
    """Parse a list in PEM or DER. Raises `Invalid("crl", …)`; the signature is not looked at."""
    if len(file) > MAX_BYTES:
        raise Invalid("crl", f"the list of revoked certificates is larger than {MAX_BYTES} bytes")
    try:
        return _read(unwrap(file, "X509 CRL", "crl_unreadable"))
    except Invalid:
        raise
    except Refused as e:
        raise Invalid("crl", e.detail) from e
    except Exception as e:  # the parser raises many kinds; all mean the same here
        raise Invalid("crl", f"this is not a readable list of revoked certificates ({type(e).__name__})") from e


def check(found: RevocationList, authority: Certificate, at: int) -> None:
    """Refuse a list that cannot serve for the certificates of `authority` at this instant. Raises `Invalid`."""
    parsed = found.parsed
    _check_signature(parsed, authority)
    if authority.usage is not None and "crl_sign" not in authority.usage:
        raise Invalid("crl", "this authority may not sign lists of revoked certificates")
    if not found.this_update <= at <= found.next_update:
        period = f"{clock.text(found.this_update)} to {clock.text(found.next_update)}"
        raise Invalid("crl", f"the list of revoked certificates is not current: it holds from {period}")
    if parsed.delta_crl_indicator_value is not None:
        raise Invalid("crl", "lists of changes (delta CRLs) are not supported; a complete list is needed")
    if unknown := sorted(parsed.critical_extensions - _KNOWN):
        raise Invalid("crl", f"the list has a critical extension that is not understood: {unknown[0]}")
    scope = parsed.issuing_distribution_point_value
    if scope is not None and any(scope[name].native for name in _PARTIAL):
        raise Invalid("crl", "the list does not cover every revocation of this authority’s cards")


def judge(certificate: Certificate, authority: Certificate, crl_der: bytes | None, at: int) -> None:
    """Refuse a certificate that the list names, or that it says nothing about.

    Any entry counts, whatever its date and reason; "on hold" is revoked too. Raises `Refused`: `certificate_revoked`,
    or `revocation_unknown` when there is no list, or none that can serve.
    """
    if crl_der is None:
        raise _unknown("there is no list of revoked certificates")
    try:
        found = read(crl_der)
        check(found, authority, at)
    except Invalid as e:
        raise _unknown(e.message) from e
    if found.points is not None and not found.points & _points(certificate):
        raise _unknown("the list speaks for other certificates of this authority")
    # An entry repeats the serial number as the certificate has it: most certificates need no walk through the list.
    if certificate.parsed["tbs_certificate"]["serial_number"].dump() not in found.der:
        return
    issuer = certificate.parsed.issuer
    try:
        since, _ = find_cert_in_list(certificate.parsed, issuer, found.parsed, issuer)
    except (NotImplementedError, ValueError) as e:
        raise _unknown("the entry of this certificate is not understood") from e
    if since is not None:
        raise Refused("certificate_revoked", f"listed since {since:%Y-%m-%d}", message=REVOKED)


def _read(der: bytes) -> RevocationList:
    parsed = crl.CertificateList.load(der, strict=True)
    body = parsed["tbs_cert_list"]
    _ = [extension.native for extension in body["crl_extensions"] or ()]
    until: datetime | None = body["next_update"].native
    if until is None:
        raise Invalid("crl", "the list of revoked certificates does not say until when it holds")
    number, scope = parsed.crl_number_value, parsed.issuing_distribution_point_value
    place = scope["distribution_point"] if scope is not None else None
    return RevocationList(
        der=der,
        this_update=int(body["this_update"].native.timestamp()),
        next_update=int(until.timestamp()),
        number=None if number is None else int(number.native),
        points=None if not place else _names(place),
        parsed=parsed,
    )


def _points(certificate: Certificate) -> frozenset[bytes]:
    """Where the certificate says that its revocation would be published."""
    places = [point["distribution_point"] for point in certificate.parsed.crl_distribution_points_value or ()]
    return frozenset().union(*(_names(place) for place in places if place))


def _names(place: Any) -> frozenset[bytes]:
    """The full names of a distribution point; one that is relative to its issuer matches nothing."""
    return frozenset(name.dump() for name in place.chosen) if place.name == "full_name" else frozenset()


def _check_signature(parsed: Any, authority: Certificate) -> None:
    unsigned = Invalid("crl", "the list of revoked certificates is not signed by this authority")
    if parsed.issuer != authority.parsed.subject:
        raise unsigned
    try:
        algorithm = parsed["signature_algorithm"]
        weak = algorithm.signature_algo not in ("ed25519", "ed448") and algorithm.hash_algo in WEAK_HASHES
        DEFAULT_SIGNATURE_VALIDATOR.validate_signature(
            parsed["signature"].native, parsed["tbs_cert_list"].dump(), authority.parsed.public_key, algorithm
        )
    except Exception as e:  # a wrong signature, or one of a kind that the authority's key cannot make
        raise unsigned from e
    if weak:
        raise Invalid("crl", f"the list of revoked certificates is signed over {algorithm.hash_algo}")


def _unknown(detail: str) -> Refused:
    return Refused("revocation_unknown", detail, message=UNCHECKED)

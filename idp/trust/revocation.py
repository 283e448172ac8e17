"""Lists of revoked certificates: which ones may be kept for an authority, and whether one of them names a certificate.

A list is kept only when it is complete, current and signed by the authority itself: a list that would be useless at
every sign-in is better refused by the command that brings it.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from asn1crypto import crl
from pyhanko_certvalidator.revinfo.validate_crl import find_cert_in_list
from pyhanko_certvalidator.sig_validate import DEFAULT_SIGNATURE_VALIDATOR

from idp import clock
from idp.errors import Invalid, Refused
from idp.trust.certificate import Certificate, require_der, unwrap
from idp.trust.profile import WEAK_HASHES

MAX_BYTES = 4 * 1024 * 1024  # about 150 000 entries: reading more at each sign-in would take too long
_KNOWN = frozenset({"crl_number", "authority_key_identifier", "issuing_distribution_point", "issuer_alt_name"})


@dataclass(frozen=True)
class RevocationList:
    """A list as its authority signed it: from when, until when (Unix seconds), and its number if it has one."""

    der: bytes = field(repr=False)
    this_update: int
    next_update: int
    number: int | None
    parsed: Any = field(repr=False, compare=False)

    def names(self, certificate: Certificate) -> bool:
        """Whether the certificate stands in the list, from whatever day on and for whatever reason.

        The path library forgives an entry dated at or after the instant of validation. To be asked only of a list of
        the certificate's own issuer.
        """
        if certificate.parsed["tbs_certificate"]["serial_number"].dump() not in self.der:
            return False
        issuer = certificate.parsed.issuer
        found, _ = find_cert_in_list(certificate.parsed, issuer, self.parsed, issuer)
        return found is not None


def read(file: bytes) -> RevocationList:
    """Parse a list in PEM or DER. Raises `Invalid("crl", …)`; the signature is not looked at."""
    if len(file) > MAX_BYTES:
        raise Invalid("crl", f"the list of revoked certificates is larger than {MAX_BYTES} bytes")
    try:
        der = unwrap(file, "X509 CRL", "crl_unreadable")
        require_der(der)
        parsed = crl.CertificateList.load(der, strict=True)
        body = parsed["tbs_cert_list"]
        _ = [extension.native for extension in body["crl_extensions"] or ()]
        until: datetime | None = body["next_update"].native
        if until is None:
            raise Invalid("crl", "the list of revoked certificates does not say until when it holds")
        number = parsed.crl_number_value
        return RevocationList(
            der=der,
            this_update=int(body["this_update"].native.timestamp()),
            next_update=int(until.timestamp()),
            number=None if number is None else int(number.native),
            parsed=parsed,
        )
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
    if parsed.delta_crl_indicator_value is not None or parsed.freshest_crl_value is not None:
        raise Invalid("crl", "lists of changes (delta CRLs) are not supported; a complete list is needed")
    if unknown := sorted(parsed.critical_extensions - _KNOWN):
        raise Invalid("crl", f"the list has a critical extension that is not understood: {unknown[0]}")
    if (scope := parsed.issuing_distribution_point_value) is not None:
        partial = ("only_contains_ca_certs", "only_contains_attribute_certs", "indirect_crl", "only_some_reasons")
        if any(scope[name].native for name in partial):
            raise Invalid("crl", "the list does not cover every revocation of this authority’s cards")


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

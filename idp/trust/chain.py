"""Whether a certificate may sign in at an instant: profile, authority, path, revocation. Nothing is ever fetched.

Paths are judged by pyhanko-certvalidator with everything handed to it; what it forgives (weak leaf keys, an anchor that
has expired) is checked here.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.authority import CertTrustAnchor, TrustQualifiers, derive_quals_from_cert
from pyhanko_certvalidator.errors import DisallowedAlgorithmError, PathError, ValidationError
from pyhanko_certvalidator.policy_decl import NO_REVOCATION, CertRevTrustPolicy
from pyhanko_certvalidator.sig_validate import DEFAULT_SIGNATURE_VALIDATOR

from idp import clock
from idp.errors import Refused
from idp.language import N_
from idp.trust import profile, revocation
from idp.trust.anchors import Authority
from idp.trust.certificate import UNREADABLE, Certificate, read

log = logging.getLogger(__name__)

UNKNOWN = N_("This card comes from an issuer that is not accepted here. Sign in another way.")


@dataclass(frozen=True)
class CardCertificate:
    """A certificate whose chain, revocation and profile were checked.

    `der` is the certificate, `sha256` its hash in hexadecimal, `subject` its holder in words, `public_key` the DER
    SubjectPublicKeyInfo, `expires_at` in Unix seconds, `anchor` the name of the authority that it leads to.
    `revocation_checked` is False where the anchor's terms let it pass without revocation data.
    """

    der: bytes
    sha256: str
    subject: str
    issuer: str
    serial: str
    public_key: bytes
    expires_at: int
    anchor: str
    revocation_checked: bool = True


def verify(der: bytes, at: int, anchors: Iterable[Authority]) -> CardCertificate:
    """Judge a login certificate at an instant (Unix seconds) against the anchors. Raises `Refused` with the exact cause."""
    certificate = read(der)
    profile.check(certificate, at)
    authority, issuer = _issuer(certificate, anchors)
    profile.check_terms(
        certificate, allow_missing_eku=authority.allow_missing_eku, forbid_policies=authority.forbid_policies
    )
    checked = _check_path(certificate, authority, issuer, at)
    if not checked:
        log.warning("card %s of %s passes without revocation data", certificate.sha256, authority.name)
    return CardCertificate(
        der=certificate.der,
        sha256=certificate.sha256,
        subject=certificate.subject,
        issuer=certificate.issuer,
        serial=certificate.serial,
        public_key=certificate.public_key,
        expires_at=certificate.not_after,
        anchor=authority.name,
        revocation_checked=checked,
    )


def _issuer(certificate: Certificate, anchors: Iterable[Authority]) -> tuple[Authority, Certificate]:
    """The anchor whose key signed the certificate: a name alone proves nothing, several may bear it."""
    detail = f"no anchor is named {certificate.issuer}"
    for anchor in anchors:
        issuer = read(anchor.certificate)
        if issuer.parsed.subject != certificate.parsed.issuer:
            continue
        try:
            DEFAULT_SIGNATURE_VALIDATOR.validate_signature(
                certificate.parsed["signature_value"].native,
                certificate.parsed["tbs_certificate"].dump(),
                issuer.parsed.public_key,
                certificate.parsed["signature_algorithm"],
            )
        except Exception:  # noqa: BLE001  a wrong signature, or one of a kind that this key cannot make
            detail = f"the issuer is named like {anchor.name} but its signature is not"
            continue
        return anchor, issuer
    raise Refused("certificate_unknown_authority", detail, message=UNKNOWN)


def _check_path(certificate: Certificate, authority: Authority, issuer: Certificate, at: int) -> bool:
    """Validate the path, then revocation as the anchor's terms say; whether revocation was checked."""
    if not issuer.not_before <= at <= issuer.not_after:
        raise Refused("authority_expired", f"{authority.name} is valid until {clock.text(issuer.not_after)}")
    _validate(certificate, issuer, at)
    # A list at hand is binding in soft mode too: soft forgives only that there is none.
    if authority.revocation == "none" or (authority.revocation == "soft" and authority.crl is None):
        return False
    revocation.judge(certificate, issuer, authority.crl, at)
    return True


def _validate(certificate: Certificate, issuer: Certificate, at: int) -> None:
    """The path of RFC 5280 §6.1: signature, dates, names, critical extensions."""
    try:
        context = ValidationContext(
            trust_roots=[CertTrustAnchor(issuer.parsed, _limits(issuer))],
            moment=datetime.fromtimestamp(at, UTC),
            allow_fetching=False,
            revinfo_policy=CertRevTrustPolicy(NO_REVOCATION),
            time_tolerance=timedelta(0),
        )
        asyncio.run(CertificateValidator(certificate.parsed, validation_context=context).async_validate_path())
    except DisallowedAlgorithmError as e:
        raise Refused("certificate_weak_signature", str(e)) from e
    except (ValidationError, PathError) as e:
        raise Refused("certificate_chain", str(e)) from e
    except Exception as e:  # hostile extensions make the library stumble in many ways; none may escape
        raise Refused(UNREADABLE, f"{type(e).__name__}: {e}"[:150]) from e


def _limits(issuer: Certificate) -> TrustQualifiers:
    """What the anchor's own certificate binds it to: path length and names. Its policies are the office's business."""
    derived = derive_quals_from_cert(issuer.parsed)
    names = derived.standard_parameters
    if names is not None:
        names = replace(names, user_initial_policy_set=frozenset({"any_policy"}), initial_explicit_policy=False)
    return replace(derived, standard_parameters=names)

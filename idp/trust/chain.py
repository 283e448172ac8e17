"""Whether a certificate may sign in at an instant: profile, authority, path, revocation. Nothing is ever fetched.

Paths and revocation are judged by pyhanko-certvalidator with everything handed to it; what it forgives (weak leaf keys,
an anchor that has expired, an entry dated in the future) is checked here.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.authority import CertTrustAnchor, TrustQualifiers, derive_quals_from_cert
from pyhanko_certvalidator.errors import (
    DisallowedAlgorithmError,
    ExpiredError,
    InsufficientRevinfoError,
    NotYetValidError,
    PathError,
    RevokedError,
    ValidationError,
)
from pyhanko_certvalidator.policy_decl import NO_REVOCATION, REQUIRE_REVINFO, CertRevTrustPolicy
from pyhanko_certvalidator.sig_validate import DEFAULT_SIGNATURE_VALIDATOR

from idp import clock
from idp.errors import Invalid, Refused
from idp.language import N_
from idp.trust import profile
from idp.trust import revocation as lists
from idp.trust.anchors import Authority
from idp.trust.certificate import UNREADABLE, Certificate, read

log = logging.getLogger(__name__)

REVOKED = N_(
    "The certificate of this card has been revoked by its issuer and can no longer be used. Sign in another way."
)
UNKNOWN = N_("This card comes from an issuer that is not accepted here. Sign in another way.")
UNCHECKED = N_("Whether this card is still valid could not be checked. Try again later, or sign in another way.")


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
    """Validate the path, and revocation as the anchor's terms say; whether revocation was checked."""
    if not issuer.not_before <= at <= issuer.not_after:
        raise Refused("authority_expired", f"{authority.name} is valid until {clock.text(issuer.not_after)}")
    found = None if authority.crl is None or authority.revocation == "none" else _current(authority.crl, issuer, at)
    # A list at hand is binding in soft mode too: soft forgives only that there is none.
    strict = found is not None or authority.revocation == "require"
    _validate(certificate, issuer, at, found, CertRevTrustPolicy(REQUIRE_REVINFO if strict else NO_REVOCATION))
    if found is not None and found.names(certificate):
        raise Refused("certificate_revoked", f"listed by {authority.name}", message=REVOKED)
    return strict


def _current(crl: bytes, issuer: Certificate, at: int) -> lists.RevocationList:
    """The list at hand, checked again: it has grown old since it was brought. Raises `Refused("revocation_unknown")`."""
    try:
        found = lists.read(crl)
        lists.check(found, issuer, at)
    except Invalid as e:
        raise Refused("revocation_unknown", e.message, message=UNCHECKED) from e
    return found


def _validate(
    certificate: Certificate,
    issuer: Certificate,
    at: int,
    found: lists.RevocationList | None,
    policy: CertRevTrustPolicy,
) -> None:
    try:
        context = ValidationContext(
            trust_roots=[CertTrustAnchor(issuer.parsed, _limits(issuer))],
            moment=datetime.fromtimestamp(at, UTC),
            crls=[] if found is None else [found.parsed],
            ocsps=[],
            allow_fetching=False,
            revinfo_policy=policy,
            time_tolerance=timedelta(0),
        )
        if found is not None:
            # The library looks for the signer of a list above the anchor, where there is nothing. Who signed this one
            # has been checked.
            context.revinfo_manager.record_crl_issuer(found.parsed, issuer.parsed)  # type: ignore[no-untyped-call]
        asyncio.run(CertificateValidator(certificate.parsed, validation_context=context).async_validate_path())
    except RevokedError as e:
        raise Refused("certificate_revoked", str(e), message=REVOKED) from e
    except InsufficientRevinfoError as e:
        raise Refused("revocation_unknown", str(e), message=UNCHECKED) from e
    except DisallowedAlgorithmError as e:
        raise Refused("certificate_weak_signature", str(e)) from e
    except ExpiredError as e:
        raise Refused("certificate_expired", str(e), message=profile.EXPIRED) from e
    except NotYetValidError as e:
        raise Refused("certificate_not_yet_valid", str(e)) from e
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

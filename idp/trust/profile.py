"""What a login certificate looks like, whoever issued it, and what one authority adds to that.

Libraries check paths, not this: both that were tried accept a leaf with an RSA key of 1024 bits or a curve of their
own choosing. Every function raises `Refused` with the exact cause; `message` is what the person may know.
"""

from collections.abc import Collection

from idp import clock
from idp.errors import Refused
from idp.language import N_
from idp.trust.certificate import Certificate

RSA_BITS = range(2048, 4097)
MIN_EXPONENT = 65537
CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})
WEAK_HASHES = frozenset({"md2", "md5", "sha1"})

EXPIRED = N_("The certificate of this card has expired. Sign in another way, and ask the card’s issuer for a new one.")
NOT_FOR_LOGIN = N_("This certificate is not meant for signing in. Choose another certificate of the card.")


def check(certificate: Certificate, at: int) -> None:
    """Refuse a certificate that no authority could make good: its key, signature hash, usages and dates."""
    _check_key(certificate)
    _check_usage(certificate)
    if certificate.signature_hash in WEAK_HASHES:
        raise Refused("certificate_weak_signature", f"signed over {certificate.signature_hash}")
    if at < certificate.not_before:
        raise Refused("certificate_not_yet_valid", f"valid from {clock.text(certificate.not_before)}")
    if at > certificate.not_after:
        raise Refused("certificate_expired", f"expired {clock.text(certificate.not_after)}", message=EXPIRED)


def check_terms(certificate: Certificate, *, allow_missing_eku: bool, forbid_policies: Collection[str]) -> None:
    """Refuse what the certificate's own authority is not trusted for."""
    if certificate.purposes is None and not allow_missing_eku:
        raise _not_for_login("no extendedKeyUsage")
    if forbidden := sorted(certificate.policies.intersection(forbid_policies)):
        raise Refused("certificate_policy", f"policy {forbidden[0]} is forbidden")


def _check_key(certificate: Certificate) -> None:
    if certificate.key == "rsa":
        if certificate.key_bits not in RSA_BITS:
            raise Refused("certificate_weak_key", f"RSA of {certificate.key_bits} bits")
        if certificate.exponent < MIN_EXPONENT or certificate.exponent % 2 == 0:
            raise Refused("certificate_weak_key", "RSA with a small or even exponent")
    elif certificate.key not in CURVES:
        raise Refused("certificate_weak_key", certificate.key)


def _check_usage(certificate: Certificate) -> None:
    if certificate.authority:
        raise _not_for_login("a certification authority")
    if certificate.usage is None or "digital_signature" not in certificate.usage:
        raise _not_for_login("keyUsage lacks digitalSignature")
    if certificate.purposes is not None and "client_auth" not in certificate.purposes:
        raise _not_for_login("extendedKeyUsage lacks clientAuth")


def _not_for_login(detail: str) -> Refused:
    return Refused("certificate_not_for_login", detail, message=NOT_FOR_LOGIN)

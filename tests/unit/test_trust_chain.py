"""Whether a certificate may sign in: every cause of refusal, with certificates that real authorities could have made."""

import time
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from services.authority import CLIENT_AUTH, NOW, CardAuthority, key, name

from idp.errors import Refused
from idp.trust.anchors import Authority
from idp.trust.chain import CardCertificate, verify

DAY = 86400
AUTHORITY = CardAuthority()
SERIAL = 4242
REQUIRED = Authority("cards", AUTHORITY.der, crl=AUTHORITY.crl())
SOFT = replace(REQUIRED, revocation="soft", crl=None)
POINTS = x509.CRLDistributionPoints(
    [x509.DistributionPoint([x509.UniformResourceIdentifier("http://crl.test/a.crl")], None, None, None)]
)


def accepted(der: bytes, *anchors: Authority, at: int = NOW) -> CardCertificate:
    return verify(der, at, anchors or (REQUIRED,))


def refused(der: bytes, *anchors: Authority, at: int = NOW) -> Refused:
    with pytest.raises(Refused) as caught:
        accepted(der, *anchors, at=at)
    return caught.value


def cause(der: bytes, *anchors: Authority, at: int = NOW) -> str:
    return refused(der, *anchors, at=at).cause


def test_a_good_card_is_described() -> None:
    der = AUTHORITY.issue()
    found = accepted(der)
    assert (found.der, found.subject, found.issuer, found.anchor) == (der, "Alice Martin", "Autorité d’essai", "cards")
    assert (found.serial, found.expires_at, found.revocation_checked) == ("1092", NOW + 300 * DAY, True)
    assert len(found.sha256) == 64
    assert found.public_key in der


@pytest.mark.parametrize("kind", ["rsa2048", "secp256r1", "secp384r1", "secp521r1"])
def test_the_usual_keys_are_accepted(kind: str) -> None:
    accepted(AUTHORITY.issue(key(kind).public_key()))


@pytest.mark.parametrize("kind", ["rsa1024", "rsa-exponent-3", "secp256k1"])
def test_a_weak_or_unusual_key_is_refused(kind: str) -> None:
    found = refused(AUTHORITY.issue(key(kind).public_key()))
    assert (found.cause, found.message) == ("certificate_weak_key", None)


def test_an_rsa_authority_may_issue_cards() -> None:
    rsa = CardAuthority(kind="rsa2048")
    accepted(rsa.issue(), Authority("rsa", rsa.der, crl=rsa.crl()))


@pytest.mark.parametrize(
    "changes",
    [
        {"usages": ("content_commitment",)},
        {"usages": ("key_encipherment",)},
        {"usages": None},
        {"purposes": None},
        {"purposes": (ExtendedKeyUsageOID.SERVER_AUTH,)},
        {"purposes": (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)},
        {"usages": ("digital_signature", "key_cert_sign"), "is_authority": True},
    ],
    ids=str,
)
def test_a_certificate_not_made_for_signing_in_is_refused(changes: dict[str, Any]) -> None:
    found = refused(AUTHORITY.issue(**changes))
    assert found.cause == "certificate_not_for_login"
    assert found.message is not None


def test_an_absent_extended_usage_is_accepted_where_the_anchor_allows_it() -> None:
    accepted(AUTHORITY.issue(purposes=None), replace(REQUIRED, allow_missing_eku=True))


def test_allowing_an_absent_extended_usage_does_not_allow_a_wrong_one() -> None:
    der = AUTHORITY.issue(purposes=(ExtendedKeyUsageOID.SERVER_AUTH,))
    assert cause(der, replace(REQUIRED, allow_missing_eku=True)) == "certificate_not_for_login"


def test_more_purposes_beside_client_authentication_do_no_harm() -> None:
    accepted(AUTHORITY.issue(purposes=(ExtendedKeyUsageOID.EMAIL_PROTECTION, CLIENT_AUTH)))


def test_a_forbidden_policy_is_refused() -> None:
    der = AUTHORITY.issue(policies=("1.3.6.1.4.1.10015.1.3", "1.2.3"))
    accepted(der)
    found = refused(der, replace(REQUIRED, forbid_policies=("1.3.6.1.4.1.10015.1.3",)))
    assert (found.cause, found.message) == ("certificate_policy", None)


def test_validity_begins_and_ends_with_the_second_named() -> None:
    der = AUTHORITY.issue(starts=0, ends=1)
    accepted(der, at=NOW)
    accepted(der, at=NOW + DAY)
    early, late = refused(der, at=NOW - 1), refused(der, at=NOW + DAY + 1)
    assert (early.cause, early.message) == ("certificate_not_yet_valid", None)
    assert late.cause == "certificate_expired"
    assert late.message is not None


def test_a_sha1_signature_is_refused() -> None:
    found = refused(AUTHORITY.signed_again(AUTHORITY.issue(), algorithm="sha1"))
    assert (found.cause, found.message) == ("certificate_weak_signature", None)


def test_an_unknown_authority_is_refused() -> None:
    stranger = CardAuthority("Autre autorité", number=1)
    found = refused(stranger.issue())
    assert found.cause == "certificate_unknown_authority"
    assert found.message is not None
    assert cause(AUTHORITY.issue(), Authority("other", stranger.der, crl=stranger.crl())) == found.cause
    with pytest.raises(Refused):
        verify(AUTHORITY.issue(), NOW, ())


def test_another_authority_of_the_same_name_is_refused() -> None:
    assert cause(CardAuthority(number=1).issue()) == "certificate_unknown_authority"
    assert cause(CardAuthority(number=1, kind="rsa2048").issue()) == "certificate_unknown_authority"


def test_of_two_anchors_of_one_name_the_one_that_signed_counts() -> None:
    renewed = CardAuthority(number=1)
    both = (Authority("old", AUTHORITY.der, crl=AUTHORITY.crl()), Authority("new", renewed.der, crl=renewed.crl()))
    assert accepted(renewed.issue(), *both).anchor == "new"
    assert accepted(AUTHORITY.issue(), *both).anchor == "old"


def test_a_root_above_the_issuing_authority_is_not_enough() -> None:
    root = CardAuthority("Racine d’essai", number=9)
    assert cause(AUTHORITY.issue(), Authority("root", root.der, crl=root.crl())) == "certificate_unknown_authority"


def test_a_self_signed_certificate_with_the_right_subject_is_refused() -> None:
    impostor = CardAuthority("Alice Martin", number=5)
    assert cause(impostor.issue(impostor.key.public_key())) == "certificate_unknown_authority"


def test_a_changed_certificate_is_refused() -> None:
    der = AUTHORITY.issue(holder=name("Alice Martin"))
    assert cause(der.replace(b"Alice Martin", b"Carol Martin")) == "certificate_unknown_authority"


@pytest.mark.parametrize(("starts", "ends"), [(-1000, -1), (1, 3000)])
def test_an_authority_out_of_date_takes_its_cards_with_it(starts: int, ends: int) -> None:
    old = CardAuthority(starts=starts, ends=ends)
    assert cause(old.issue(), Authority("old", old.der, crl=old.crl())) == "authority_expired"


def test_an_authority_that_signs_for_other_names_only_is_refused() -> None:
    limits = x509.NameConstraints(
        [x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "DE")]))], None
    )
    limited = CardAuthority(extensions=((limits, True),))
    french = x509.Name([x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "FR")])
    german = x509.Name([x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "DE")])
    anchor = Authority("limited", limited.der, crl=limited.crl())
    assert cause(limited.issue(holder=french), anchor) == "certificate_chain"
    accepted(limited.issue(holder=german), anchor)


def test_the_policies_of_an_authority_do_not_limit_its_cards() -> None:
    own = x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.3"), None)])
    authority = CardAuthority(extensions=((own, False),))
    anchor = Authority("own", authority.der, crl=authority.crl())
    accepted(authority.issue(), anchor)
    accepted(authority.issue(policies=("1.2.4",)), anchor)


def test_an_unknown_critical_extension_is_refused() -> None:
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
    assert cause(AUTHORITY.issue(extensions=[(strange, True)])) == "certificate_chain"
    accepted(AUTHORITY.issue(extensions=[(strange, False)]))


@pytest.mark.parametrize("pointers", [(), ((POINTS, False),)], ids=["no pointers", "pointers"])
@pytest.mark.parametrize("revocation", ["require", "soft"])
@pytest.mark.parametrize("revoked_on", [-5, 0, 5])
def test_a_listed_certificate_is_revoked(pointers: Any, revocation: str, revoked_on: float) -> None:
    crl = AUTHORITY.crl(1, SERIAL, 9, revoked_on=revoked_on)
    anchor = replace(REQUIRED, revocation=revocation, crl=crl)
    found = refused(AUTHORITY.issue(extensions=pointers), anchor)
    assert found.cause == "certificate_revoked"
    assert found.message is not None
    accepted(AUTHORITY.issue(serial=5, extensions=pointers), anchor)


@pytest.mark.parametrize("revocation", ["require", "soft"])
@pytest.mark.parametrize(("starts", "ends"), [(-30, -1), (1, 30)], ids=["stale", "of tomorrow"])
def test_a_list_out_of_date_is_no_information(revocation: str, starts: float, ends: float) -> None:
    anchor = replace(REQUIRED, revocation=revocation, crl=AUTHORITY.crl(starts=starts, ends=ends))
    found = refused(AUTHORITY.issue(), anchor)
    assert found.cause == "revocation_unknown"
    assert found.message is not None


def test_a_list_holds_until_the_second_it_names() -> None:
    anchor = replace(REQUIRED, crl=AUTHORITY.crl(ends=1))
    accepted(AUTHORITY.issue(), anchor, at=NOW + DAY)
    assert cause(AUTHORITY.issue(), anchor, at=NOW + DAY + 1) == "revocation_unknown"


@pytest.mark.parametrize("revocation", ["require", "soft"])
def test_a_list_of_another_signer_is_no_information(revocation: str) -> None:
    forged = AUTHORITY.crl(signed_by=CardAuthority(number=1))
    other = CardAuthority("Autre autorité", number=1).crl()
    for crl in (forged, other, b"garbage"):
        anchor = replace(REQUIRED, revocation=revocation, crl=crl)
        assert cause(AUTHORITY.issue(), anchor) == "revocation_unknown"


def part(letter: str) -> list[tuple[x509.ExtensionType, bool]]:
    """A list for those certificates only that name the same place."""
    place = [x509.UniformResourceIdentifier(f"http://crl.test/{letter}.crl")]
    return [(x509.IssuingDistributionPoint(place, None, True, False, None, False, False), True)]


def test_a_list_of_another_part_is_no_information() -> None:
    for pointers in ([(POINTS, False)], []):
        anchor = replace(REQUIRED, crl=AUTHORITY.crl(extensions=part("b")))
        assert cause(AUTHORITY.issue(extensions=pointers), anchor) == "revocation_unknown"


def test_a_list_of_the_certificates_own_part_counts() -> None:
    anchor = replace(REQUIRED, crl=AUTHORITY.crl(9, extensions=part("a")))
    accepted(AUTHORITY.issue(extensions=[(POINTS, False)]), anchor)
    assert cause(AUTHORITY.issue(serial=9, extensions=[(POINTS, False)]), anchor) == "certificate_revoked"


def test_a_serial_number_that_only_looks_like_an_entry_is_not_revoked() -> None:
    # 02 01 01 stands in every list somewhere (the version is 02 01 01).
    accepted(AUTHORITY.issue(serial=1), replace(REQUIRED, crl=AUTHORITY.crl(7, 8)))


def test_without_a_list_required_revocation_refuses() -> None:
    assert cause(AUTHORITY.issue(), replace(REQUIRED, crl=None)) == "revocation_unknown"
    assert cause(AUTHORITY.issue(extensions=[(POINTS, False)]), replace(REQUIRED, crl=None)) == "revocation_unknown"


@pytest.mark.parametrize("pointers", [(), ((POINTS, False),)], ids=["no pointers", "pointers"])
@pytest.mark.parametrize("revocation", ["soft", "none"])
def test_without_a_list_soft_and_none_accept_and_say_so(
    pointers: Any, revocation: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = accepted(AUTHORITY.issue(extensions=pointers), replace(SOFT, revocation=revocation))
    assert not found.revocation_checked
    assert "without revocation data" in caplog.text


def test_judging_thousands_of_listed_certificates_stays_quick() -> None:
    anchor = replace(REQUIRED, crl=AUTHORITY.crl(*range(10_000, 13_000)))
    started = time.perf_counter()
    accepted(AUTHORITY.issue(), anchor)
    assert time.perf_counter() - started < 2

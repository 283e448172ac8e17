"""Keeping anchors: which authorities and which lists of revoked certificates are taken, and that every process hears."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import pem
from click.testing import CliRunner, Result
from cryptography import x509
from services.authority import NOW, CardAuthority

from idp import clock
from idp.db import Database
from idp.errors import Conflict, Invalid, NotFound, Refusal
from idp.journal import entries
from idp.trust import anchors, commands, revocation

AUTHORITY = CardAuthority()
DELTA = x509.DeltaCRLIndicator(1)
STRANGE = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")


@pytest.fixture(autouse=True)
def _still() -> Iterator[None]:
    with clock.fixed(NOW):
        yield


def wrong(database: Database, *given: Any, **terms: Any) -> Invalid:
    with pytest.raises(Invalid) as caught, database.begin() as on:
        anchors.add(on, *given, **terms)
    return caught.value


def scope(**only: Any) -> x509.IssuingDistributionPoint:
    words: dict[str, Any] = {
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
        **only,
    }
    return x509.IssuingDistributionPoint(full_name=None, relative_name=None, **words)


@pytest.mark.parametrize("file", [AUTHORITY.der, AUTHORITY.pem], ids=["der", "pem"])
@pytest.mark.parametrize("crl", [AUTHORITY.crl(), pem.armor("X509 CRL", AUTHORITY.crl())], ids=["der", "pem"])
def test_an_anchor_is_kept_with_its_terms(database: Database, file: bytes, crl: bytes) -> None:
    with database.begin() as on:
        added = anchors.add(on, file, "cards", "soft", allow_missing_eku=True, forbid_policies=["1.2.3"], crl=crl)
    with database.read() as on:
        assert anchors.listed(on) == (added,)
        assert [(e["event"], e["anchor"], e["revocation"]) for e in entries(on)] == [("anchor.added", "cards", "soft")]
    assert added == anchors.Authority("cards", AUTHORITY.der, "soft", True, ("1.2.3",), revocation.read(crl).der)


def test_the_default_requires_revocation(database: Database) -> None:
    with database.begin() as on:
        assert anchors.add(on, AUTHORITY.der, "cards").revocation == "require"


@pytest.mark.parametrize(
    "authority",
    [
        CardAuthority(is_authority=False),
        CardAuthority(usages=("digital_signature",)),
        CardAuthority(kind="rsa1024"),
        CardAuthority(ends=-1),
        CardAuthority(starts=1),
    ],
    ids=["leaf", "signs no certificates", "RSA 1024", "expired", "of tomorrow"],
)
def test_what_is_no_good_authority_is_refused(database: Database, authority: CardAuthority) -> None:
    assert wrong(database, authority.der, "cards").field == "file"


def test_a_file_without_exactly_one_certificate_is_refused(database: Database) -> None:
    for file in (b"", b"garbage", AUTHORITY.pem * 2, AUTHORITY.crl()):
        assert wrong(database, file, "cards").field == "file"


def test_wrong_terms_are_refused_by_name(database: Database) -> None:
    assert wrong(database, AUTHORITY.der, " ").field == "name"
    assert wrong(database, AUTHORITY.der, "a\nb").field == "name"
    assert wrong(database, AUTHORITY.der, "cards", "perhaps").field == "revocation"
    assert wrong(database, AUTHORITY.der, "cards", forbid_policies=["1.2.x"]).field == "forbid_policies"


@pytest.mark.parametrize(
    ("crl", "says"),
    [
        (b"garbage", "readable"),
        (AUTHORITY.crl() + b"\0", "readable"),
        (AUTHORITY.crl(signed_by=CardAuthority(number=1)), "not signed by this authority"),
        (CardAuthority("Autre", number=1).crl(), "not signed by this authority"),
        (AUTHORITY.crl(starts=-30, ends=-1), "not current"),
        (AUTHORITY.crl(starts=1, ends=2), "not current"),
        (AUTHORITY.crl(extensions=[(DELTA, True)]), "complete list"),
        (AUTHORITY.crl(extensions=[(STRANGE, True)]), "not understood"),
        (AUTHORITY.crl(extensions=[(scope(only_contains_ca_certs=True), True)]), "does not cover"),
        (AUTHORITY.crl(extensions=[(scope(indirect_crl=True), True)]), "does not cover"),
        (
            AUTHORITY.crl(extensions=[(scope(only_some_reasons=frozenset({x509.ReasonFlags.superseded})), True)]),
            "does not cover",
        ),
        (b"\x30\x84\x03\x00\x00\x00" + b"\0" * 50_000_000, "larger"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_useless_list_is_refused_with_a_sentence(database: Database, crl: bytes, says: str) -> None:
    found = wrong(database, AUTHORITY.der, "cards", crl=crl)
    assert found.field == "crl"
    assert says in found.message


def test_an_authority_that_may_sign_no_lists_is_told_so(database: Database) -> None:
    mute = CardAuthority(usages=("key_cert_sign",))
    assert "may not sign" in wrong(database, mute.der, "cards", crl=mute.crl()).message


def test_a_list_that_would_never_be_looked_at_is_refused(database: Database) -> None:
    assert wrong(database, AUTHORITY.der, "cards", "none", crl=AUTHORITY.crl()).field == "crl"


def test_an_authority_and_a_name_are_trusted_once(database: Database) -> None:
    with database.begin() as on:
        anchors.add(on, AUTHORITY.der, "cards")
    for file, name in ((CardAuthority(number=1).der, "cards"), (AUTHORITY.der, "again")):
        with pytest.raises(Conflict), database.begin() as on:
            anchors.add(on, file, name)


def test_a_list_is_replaced_by_a_newer_one_only(database: Database) -> None:
    with database.begin() as on:
        anchors.add(on, AUTHORITY.der, "cards", crl=AUTHORITY.crl(number=5))
    newer = AUTHORITY.crl(4242, number=6)
    with database.begin() as on:
        assert anchors.refresh(on, "cards", newer).crl == newer
    for crl in (AUTHORITY.crl(number=5), AUTHORITY.crl(number=None, starts=-2), CardAuthority(number=1).crl(number=9)):
        with pytest.raises(Invalid), database.begin() as on:
            anchors.refresh(on, "cards", crl)
    with pytest.raises(NotFound), database.begin() as on:
        anchors.refresh(on, "ghost", newer)
    with database.read() as on:
        assert anchors.named(on, "cards").crl == newer


def test_every_process_hears_of_a_change(database: Database) -> None:
    here, there = anchors.Trusted(), anchors.Trusted()
    with database.read() as on:
        assert here(on) == there(on) == ()
    with database.begin() as on:
        anchors.add(on, AUTHORITY.der, "cards")
    with database.read() as on:
        first = there(on)
        assert [a.name for a in first] == ["cards"]
        assert there(on) is first  # unchanged, so not read again
    with database.begin() as on:
        anchors.refresh(on, "cards", AUTHORITY.crl())
    with database.read() as on:
        assert there(on)[0].crl is not None
    with database.begin() as on:
        anchors.remove(on, "cards")
    with database.read() as on:
        assert here(on) == there(on) == ()


@dataclass
class House:
    """What the commands use of the house."""

    database: Database


def run(database: Database, *arguments: str | Path) -> Result:
    return CliRunner().invoke(commands.trust, [str(a) for a in arguments], obj=House(database))


def test_the_commands_speak_json_or_to_people(database: Database, tmp_path: Path) -> None:
    file, crl = tmp_path / "ca.pem", tmp_path / "ca.crl"
    file.write_bytes(AUTHORITY.pem)
    crl.write_bytes(AUTHORITY.crl())
    added = run(database, "add", file, "--name", "cards", "--crl", crl, "--forbid-policy", "1.2.3", "--json")
    assert json.loads(added.output) == {
        "name": "cards",
        "subject": "Autorité d’essai",
        "sha256": json.loads(added.output)["sha256"],
        "expires_at": clock.text(NOW + 3000 * 86400),
        "revocation": "require",
        "allow_missing_eku": False,
        "forbid_policies": ["1.2.3"],
        "crl_age": 86400,
        "crl_expires_at": clock.text(NOW + 30 * 86400),
    }
    assert [a["name"] for a in json.loads(run(database, "list", "--json").output)] == ["cards"]
    assert "revocation required; list of 24 hours ago" in run(database, "list").output
    crl.write_bytes(AUTHORITY.crl(number=2, starts=0))
    assert json.loads(run(database, "refresh", "cards", "--crl", crl, "--json").output)["crl_age"] == 0
    assert run(database, "remove", "cards").output == "cards is no longer trusted\n"
    assert json.loads(run(database, "list", "--json").output) == []
    assert isinstance(run(database, "remove", "cards").exception, Refusal)


def test_a_missing_check_is_said_loudly(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "ca.der"
    file.write_bytes(AUTHORITY.der)
    assert "every card is refused" in run(database, "add", file, "--name", "a").output
    file.write_bytes(CardAuthority(number=1).der)
    assert "NO REVOCATION CHECK" in run(database, "add", file, "--name", "b", "--revocation", "none").output

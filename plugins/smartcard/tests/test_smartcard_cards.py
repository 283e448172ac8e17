"""Enrolling, blocking and removing cards, and the commands around them."""

import json
from pathlib import Path

import pytest
from asn1crypto import pem
from click import Group
from click.testing import CliRunner, Result
from idp_smartcard import cards
from idp_smartcard.tables import Card
from services.authority import CardAuthority, key
from services.card_office import Office
from sqlalchemy import delete, insert
from sqlalchemy.exc import IntegrityError

from idp.errors import Conflict, NotFound, Refusal, Refused
from idp.language import Languages
from idp.models import Account


def run(office: Office, *arguments: str | Path) -> Result:
    (group,) = office.method.commands()
    assert isinstance(group, Group)
    return CliRunner().invoke(group, [str(a) for a in arguments])


def refusal(office: Office, *arguments: str | Path) -> str:
    found = run(office, *arguments).exception
    office.session.rollback()
    assert isinstance(found, Refusal)
    return found.cause


@pytest.fixture
def file(tmp_path: Path, authority: CardAuthority) -> Path:
    path = tmp_path / "card.pem"
    path.write_bytes(pem.armor("CERTIFICATE", authority.issue()))
    return path


def test_staff_enrols_lists_blocks_and_removes_a_card(office: Office, file: Path) -> None:
    added = json.loads(run(office, "add", "alice@e1.example", file, "--json").output)
    assert (added["subject"], added["state"], added["anchor"], added["serial"]) == (
        "Alice Martin",
        "active",
        "cards",
        "1092",
    )
    assert json.loads(run(office, "list", "alice@e1.example", "--json").output) == [added]
    blocked = json.loads(run(office, "block", "alice@e1.example", added["sha256"], "--json").output)
    assert blocked == added | {"state": "blocked"}
    assert "removed: Alice Martin" in run(office, "remove", "alice@e1.example", added["sha256"].upper()).output
    assert [c["state"] for c in json.loads(run(office, "list", "alice@e1.example", "--json").output)] == ["removed"]
    assert run(office, "list", "bob@e1.example").output == "no card\n"
    assert office.journal() == [
        ("card.enrolled", "alice", "command"),
        ("card.blocked", "alice", "command"),
        ("card.removed", "alice", "command"),
    ]


def test_a_certificate_is_enrolled_once(office: Office, file: Path) -> None:
    assert run(office, "add", "alice@e1.example", file).exit_code == 0
    assert refusal(office, "add", "alice@e1.example", file) == "card_enrolled"
    assert refusal(office, "add", "bob@e1.example", file) == "card_enrolled"


def test_a_removed_card_may_be_enrolled_anew(office: Office, file: Path) -> None:
    sha256 = json.loads(run(office, "add", "alice@e1.example", file, "--json").output)["sha256"]
    run(office, "remove", "alice@e1.example", sha256)
    assert run(office, "add", "bob@e1.example", file).exit_code == 0
    assert office.method.ready_for("bob").value == "enrolled"


def test_a_holder_reads_about_the_cards_that_are_not_removed(office: Office, authority: CardAuthority) -> None:
    first, second = authority.issue(), authority.issue(serial=4243)
    for der in (first, second):
        cards.enrol(office.desk, "alice", der, "test")
    office.session.commit()
    office.sign_in(first)
    english = Languages([])["en"]
    used, unused = office.method.describe("alice", english)
    assert [label for label, _ in used.facts] == ["Card holder", "Valid until", "Last used on"]
    assert (unused.title, [label for label, _ in unused.facts]) == ("Smartcard", ["Card holder", "Valid until"])
    held = cards.of_account(office.desk, "alice")
    cards.block(office.desk, "alice", held[0].certificate, "test")
    cards.remove(office.desk, "alice", held[1].certificate, "test")
    assert [card.title for card in office.method.describe("alice", english)] == ["Blocked smartcard"]
    assert office.method.describe("bob", english) == []


def test_a_key_belongs_to_one_account(office: Office, authority: CardAuthority) -> None:
    cards.enrol(office.desk, "alice", authority.issue(), "test")
    renewed = authority.issue(serial=4243)
    with pytest.raises(Conflict) as caught:
        cards.enrol(office.desk, "bob", renewed, "test")
    assert caught.value.cause == "card_key_taken"
    cards.enrol(office.desk, "alice", renewed, "test")


def test_a_blocked_card_does_not_come_back_by_a_renewal(office: Office, authority: CardAuthority) -> None:
    card = cards.enrol(office.desk, "alice", authority.issue(), "test")
    cards.block(office.desk, "alice", card.certificate, "test")
    for der, account in ((authority.issue(serial=4243), "alice"), (authority.issue(serial=4244), "bob")):
        with pytest.raises(Conflict):
            cards.enrol(office.desk, account, der, "test")


def test_two_enrolments_at_one_moment_leave_one_card(office: Office, authority: CardAuthority) -> None:
    der = authority.issue()
    first = cards.enrol(office.desk, "alice", der, "test")
    twin = {c.name: getattr(first, c.name) for c in Card.__table__.columns if c.name != "id"}
    office.session.commit()
    with pytest.raises(IntegrityError):
        office.session.execute(insert(Card).values(twin))
    office.session.rollback()


@pytest.mark.parametrize(
    ("cause", "changes"),
    [
        ("certificate_not_for_login", {"usages": ("content_commitment",)}),
        ("certificate_expired", {"ends": -1}),
        ("certificate_revoked", {"serial": 666}),
        ("certificate_weak_key", {"public_key": key("rsa1024").public_key()}),
    ],
)
def test_enrolment_checks_what_a_sign_in_checks(
    office: Office, authority: CardAuthority, tmp_path: Path, cause: str, changes: dict[str, object]
) -> None:
    path = tmp_path / "card.der"
    path.write_bytes(authority.issue(**changes))  # type: ignore[arg-type]
    assert refusal(office, "add", "alice@e1.example", path) == cause
    assert office.journal() == []


def test_a_file_with_two_certificates_is_refused(office: Office, file: Path) -> None:
    file.write_bytes(file.read_bytes() * 2)
    assert refusal(office, "add", "alice@e1.example", file) == "certificate_unreadable"
    file.write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    assert refusal(office, "add", "alice@e1.example", file) == "certificate_unreadable"


def test_an_unknown_account_or_card_is_said(office: Office, file: Path) -> None:
    assert refusal(office, "add", "ghost@e1.example", file) == "account_unknown"
    sha256 = json.loads(run(office, "add", "alice@e1.example", file, "--json").output)["sha256"]
    assert refusal(office, "block", "bob@e1.example", sha256) == "card_unknown"
    assert refusal(office, "remove", "alice@e1.example", "00" * 32) == "card_unknown"
    run(office, "block", "alice@e1.example", sha256)
    assert refusal(office, "block", "alice@e1.example", sha256) == "card_blocked"


def test_a_refused_command_changes_nothing(office: Office) -> None:
    with pytest.raises(NotFound):
        cards.remove(office.desk, "alice", "00" * 32, "test")
    with pytest.raises(Refused):
        cards.with_certificate(office.desk, "00" * 32)
    assert cards.of_account(office.desk, "alice") == []


def test_an_erased_account_takes_its_cards_with_it(office: Office, authority: CardAuthority) -> None:
    cards.enrol(office.desk, "alice", authority.issue(), "test")
    office.session.commit()
    office.session.execute(delete(Account).where(Account.id == "alice"))
    office.session.commit()
    assert cards.of_account(office.desk, "alice") == []

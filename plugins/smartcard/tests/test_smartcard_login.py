"""Signing in with a card: one challenge, one proof, one enrolled certificate."""

import base64
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from idp_smartcard import CardSettings, Smartcard, cards
from idp_smartcard.challenges import Challenges
from idp_smartcard.tables import Challenge
from services.authority import CardAuthority, key, name, token
from services.card_office import ORIGIN, Office
from sqlalchemy import func, select

from idp.errors import Misconfigured, Refused
from idp.login.method import Attempt, Commands, Keeps, Readiness
from idp.settings import validated
from idp.trust import anchors

Advance = Callable[[int], None]


@pytest.fixture
def alice(office: Office, authority: CardAuthority) -> bytes:
    """Alice's enrolled certificate."""
    der = authority.issue()
    cards.enrol(office.desk, "alice", der, "test")
    office.session.commit()
    return der


def cause(act: Callable[[], object]) -> str:
    with pytest.raises(Refused) as caught:
        act()
    return caught.value.cause


def test_an_enrolled_card_signs_its_account_in(office: Office, alice: bytes) -> None:
    nonce = office.nonce()
    proof = office.method.verify(Attempt("attempt-1", None, "fr", {"token": token(alice, nonce, ORIGIN)}))
    office.session.commit()
    (card,) = cards.of_account(office.desk, "alice")
    assert (proof.account_id, proof.credential) == ("alice", card.certificate)
    assert card.last_used_at is not None


def test_the_page_gets_what_its_script_needs(office: Office) -> None:
    page = office.method.challenge(Attempt("a", None, "fr"))
    assert page.template == "smartcard/challenge.html"
    assert (page.values["origin"], page.values["ports"], page.values["seconds"]) == (ORIGIN, (17171, 17172, 17173), 300)
    assert page.connect == ("http://127.0.0.1:17171", "http://127.0.0.1:17172", "http://127.0.0.1:17173")


def test_a_nonce_has_256_bits_and_is_never_the_same(office: Office) -> None:
    nonces = {office.nonce(f"attempt-{n % 3}") for n in range(30)}
    assert len(nonces) == 30
    assert {(len(n), len(base64.b64decode(n))) for n in nonces} == {(44, 32)}


def test_no_nonce_is_stored(office: Office) -> None:
    nonce = office.nonce()
    with office.database.read() as on:
        (row,) = on.execute(select(Challenge.__table__)).all()
    assert nonce not in str(row)
    assert base64.b64decode(nonce).hex() not in str(row)


def test_a_proof_is_good_once(office: Office, alice: bytes) -> None:
    text = token(alice, office.nonce(), ORIGIN)
    assert office.answer(text) == "alice"
    assert cause(lambda: office.answer(text)) == "challenge_unknown"
    other_node = office.again()
    assert cause(lambda: other_node.verify(Attempt("attempt-1", None, "fr", {"token": text}))) == "challenge_unknown"


def test_another_node_accepts_the_proof_of_this_ones_challenge(office: Office, alice: bytes) -> None:
    text = token(alice, office.nonce(), ORIGIN)
    assert office.again().verify(Attempt("attempt-1", None, "fr", {"token": text})).account_id == "alice"


@pytest.mark.parametrize("wrong", ["", "garbage", "x" * 20_000])
def test_a_wrong_proof_spends_the_challenge_too(office: Office, alice: bytes, wrong: str) -> None:
    good = token(alice, office.nonce(), ORIGIN)
    assert cause(lambda: office.answer(wrong)) in {"token_malformed", "token_too_long"}
    office.session.rollback()  # as the house does after a refusal
    assert cause(lambda: office.answer(good)) == "challenge_unknown"
    assert office.sign_in(alice) == "alice"


def test_a_missing_token_is_a_refusal(office: Office) -> None:
    office.nonce()
    assert cause(lambda: office.method.verify(Attempt("attempt-1", None, "fr"))) == "token_malformed"


def test_a_proof_belongs_to_the_attempt_that_was_asked(office: Office, alice: bytes) -> None:
    mine = token(alice, office.nonce("mine"), ORIGIN)
    assert cause(lambda: office.answer(mine, "theirs")) == "challenge_unknown"
    office.nonce("theirs")
    assert cause(lambda: office.answer(mine, "theirs")) == "signature_invalid"
    assert office.answer(mine, "mine") == "alice"


def test_a_proof_belongs_to_the_purpose_that_was_asked(office: Office, alice: bytes) -> None:
    other = Challenges(office.desk, 300).make("attempt-1", "enrol")
    office.session.commit()
    assert cause(lambda: office.answer(token(alice, other, ORIGIN))) == "challenge_unknown"
    office.nonce()
    assert cause(lambda: office.answer(token(alice, other, ORIGIN))) == "signature_invalid"


def test_a_new_page_makes_the_old_one_useless(office: Office, alice: bytes) -> None:
    old = office.nonce()
    new = office.nonce()
    assert cause(lambda: office.answer(token(alice, old, ORIGIN))) == "signature_invalid"
    assert cause(lambda: office.answer(token(alice, new, ORIGIN))) == "challenge_unknown"


def test_a_challenge_lives_five_minutes(office: Office, alice: bytes, move: Advance) -> None:
    text = token(alice, office.nonce(), ORIGIN)
    move(299)
    assert office.answer(text) == "alice"
    text = token(alice, office.nonce(), ORIGIN)
    move(300)
    assert cause(lambda: office.answer(text)) == "challenge_unknown"


def test_open_challenges_are_one_for_each_attempt_and_old_ones_go(office: Office, move: Advance) -> None:
    for _ in range(5):
        office.nonce("a")
        office.nonce("b")
    count = select(func.count()).select_from(Challenge)
    assert office.session.execute(count).scalar_one() == 2
    office.session.commit()
    move(301)
    office.nonce("c")
    assert office.session.execute(count).scalar_one() == 1


def test_of_many_copies_of_a_proof_one_gets_in(office: Office, alice: bytes) -> None:
    text = token(alice, office.nonce(), ORIGIN)

    def post(_: int) -> str:
        try:
            return office.answer(text)
        except Refused as e:
            return e.cause
        finally:
            office.session.remove()

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(post, range(8)))
    assert sorted(outcomes) == ["alice", *["challenge_unknown"] * 7]


@pytest.mark.parametrize("origin", ["https://id.example.evil", "http://id.example", "https://id.example/"])
def test_a_proof_for_another_origin_is_refused(office: Office, alice: bytes, origin: str) -> None:
    assert cause(lambda: office.answer(token(alice, office.nonce(), origin))) == "signature_invalid"
    deployment = office.again(origin="https://id.other.example")
    nonce = office.nonce()
    asked = Attempt("attempt-1", None, "fr", {"token": token(alice, nonce, ORIGIN)})
    assert cause(lambda: deployment.verify(asked)) == "signature_invalid"


def test_a_card_that_is_not_enrolled_is_refused_whatever_its_name(office: Office, authority: CardAuthority) -> None:
    names = (name("Alice Martin", email_address="alice@e1.example"), name("alice"))
    for number, holder in enumerate(names, 50):
        with pytest.raises(Refused) as caught:
            office.sign_in(authority.issue(holder=holder, serial=number))
        assert caught.value.cause == "card_not_registered"
        assert caught.value.message is not None


def test_a_renewed_certificate_of_the_same_key_must_be_enrolled_again(
    office: Office, alice: bytes, authority: CardAuthority
) -> None:
    renewed = authority.issue(serial=4243)
    assert cause(lambda: office.sign_in(renewed)) == "card_not_registered"
    cards.enrol(office.desk, "alice", renewed, "test")
    assert office.sign_in(renewed) == office.sign_in(alice) == "alice"


def test_the_certificate_of_another_key_is_no_proof(office: Office, alice: bytes) -> None:
    text = token(alice, office.nonce(), ORIGIN, key("secp256r1", 77))
    assert cause(lambda: office.answer(text)) == "signature_invalid"


def test_a_bad_certificate_is_refused_with_its_cause(office: Office, authority: CardAuthority) -> None:
    causes = {
        "certificate_expired": authority.issue(ends=-1),
        "certificate_not_yet_valid": authority.issue(starts=1),
        "certificate_revoked": authority.issue(serial=666),
        "certificate_unknown_authority": CardAuthority(number=1).issue(),
        "certificate_not_for_login": authority.issue(usages=("content_commitment",)),
        "certificate_weak_key": authority.issue(key("rsa1024").public_key()),
        "certificate_weak_signature": authority.signed_again(authority.issue(), algorithm="sha1"),
        "certificate_unreadable": b"\x30\x03\x02\x01\x01",
    }
    for expected, der in causes.items():
        assert cause(lambda der=der: office.sign_in(der)) == expected  # type: ignore[misc]


def test_a_card_revoked_after_enrolment_no_longer_signs_in(
    office: Office, alice: bytes, authority: CardAuthority
) -> None:
    assert office.sign_in(alice) == "alice"
    with office.database.begin() as on:
        anchors.refresh(on, "cards", authority.crl(4242, number=2))
    assert cause(lambda: office.sign_in(alice)) == "certificate_revoked"


def test_a_blocked_card_is_refused_and_names_its_account_for_the_journal(office: Office, alice: bytes) -> None:
    (card,) = cards.of_account(office.desk, "alice")
    cards.block(office.desk, "alice", card.certificate, "test")
    office.session.commit()
    with pytest.raises(Refused) as caught:
        office.sign_in(alice)
    assert (caught.value.cause, caught.value.account_id) == ("card_blocked", "alice")
    assert caught.value.message is not None


def test_a_removed_card_is_unknown(office: Office, alice: bytes) -> None:
    (card,) = cards.of_account(office.desk, "alice")
    cards.remove(office.desk, "alice", card.certificate, "test")
    office.session.commit()
    assert cause(lambda: office.sign_in(alice)) == "card_not_registered"


def test_readiness_follows_the_cards(office: Office, alice: bytes, move: Advance) -> None:
    assert office.method.ready_for("alice") is Readiness.ENROLLED
    assert office.method.ready_for("bob") is Readiness.AVAILABLE
    move(300 * 86400)
    assert office.method.ready_for("alice") is Readiness.ENROLLED
    move(1)
    assert office.method.ready_for("alice") is Readiness.AVAILABLE


def test_a_blocked_card_does_not_count_as_enrolled(office: Office, alice: bytes) -> None:
    (card,) = cards.of_account(office.desk, "alice")
    cards.block(office.desk, "alice", card.certificate, "test")
    assert office.method.ready_for("alice") is Readiness.AVAILABLE


def test_the_method_keeps_the_agreement(office: Office) -> None:
    assert isinstance(office.method, Keeps)
    assert isinstance(office.method, Commands)
    assert Smartcard.strength.finds_account
    assert Smartcard.strength.phishing_resistant


@pytest.mark.parametrize("raw", [{"signer_ports": []}, {"signer_ports": [0]}, {"challenge_seconds": 0}, {"port": 1}])
def test_wrong_settings_are_refused(raw: dict[str, object]) -> None:
    with pytest.raises(Misconfigured):
        validated(CardSettings, raw, "smartcard")

"""Enrolled cards: who may hold which, and what becomes of them. Functions write into the session and do not commit."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from idp.plugin import N_, CardEnrolled, Conflict, Desk, Event, Means, NotFound, Refused, Translator, clock
from idp_smartcard.tables import ACTIVE, BLOCKED, REMOVED, Card

NOT_REGISTERED = N_(
    "This card is not registered. Sign in another way, or ask the help desk to add the card to your account."
)
IS_BLOCKED = N_("This card is blocked. Sign in another way, or write to the help desk.")


@dataclass(frozen=True, kw_only=True)
class CardBlocked(Event):
    """The card can no longer sign in and cannot be enrolled anew until it is removed."""

    name = "card.blocked"
    certificate: str


@dataclass(frozen=True, kw_only=True)
class CardRemoved(Event):
    """The card belongs to the account no longer; it may be enrolled anew."""

    name = "card.removed"
    certificate: str


def enrol(desk: Desk, account_id: str, der: bytes, cause: str) -> Card:
    """Bind a certificate to an account after the checks of a sign-in. `cause` says for the journal who did it.

    Raises `Refused` as the house's check does, `Conflict` when the certificate is enrolled or blocked already, or its
    key belongs to another account.
    """
    now = clock.now()
    checked = desk.verify_card(der, now)
    key = hashlib.sha256(checked.public_key).hexdigest()
    session = desk.session
    kept = session.execute(select(Card).where(Card.state != REMOVED, Card.public_key == key)).scalars().all()
    for known in kept:
        if known.certificate == checked.sha256:
            raise Conflict("card_enrolled", f"this certificate is already enrolled ({known.state})")
        if known.account_id != account_id:
            raise Conflict("card_key_taken", "the key of this certificate belongs to another account")
        if known.state == BLOCKED:
            raise Conflict("card_blocked", "a card with the same key is blocked")
    card = Card(
        account_id=account_id,
        certificate=checked.sha256,
        public_key=key,
        issuer=checked.issuer,
        serial=checked.serial,
        subject=checked.subject,
        expires_at=checked.expires_at,
        anchor=checked.anchor,
        state=ACTIVE,
        added_at=now,
    )
    try:
        with session.begin_nested():
            session.add(card)
    except IntegrityError as e:  # enrolled at the same moment elsewhere
        raise Conflict("card_enrolled", "this certificate is already enrolled") from e
    desk.record(CardEnrolled(account=account_id, certificate=card.certificate, cause=cause))
    return card


def of_account(desk: Desk, account_id: str) -> Sequence[Card]:
    """Every card that the account has or had, oldest first."""
    return desk.session.execute(select(Card).where(Card.account_id == account_id).order_by(Card.id)).scalars().all()


def with_certificate(desk: Desk, sha256: str) -> Card:
    """The active card with exactly this certificate. Raises `Refused` when there is none, or it is blocked."""
    card = desk.session.execute(
        select(Card).where(Card.certificate == sha256, Card.state != REMOVED)
    ).scalar_one_or_none()
    if card is None:
        raise Refused("card_not_registered", sha256, message=NOT_REGISTERED)
    if card.state != ACTIVE:
        raise Refused("card_blocked", sha256, message=IS_BLOCKED, account_id=card.account_id)
    return card


def block(desk: Desk, account_id: str, sha256: str, cause: str) -> Card:
    """Let a card sign in no longer: lost, stolen. Raises `NotFound`, or `Conflict` when it is blocked already."""
    card = _held(desk, account_id, sha256)
    if card.state == BLOCKED:
        raise Conflict("card_blocked", "this card is blocked already")
    card.state = BLOCKED
    desk.record(CardBlocked(account=account_id, certificate=card.certificate, cause=cause))
    return card


def remove(desk: Desk, account_id: str, sha256: str, cause: str) -> Card:
    """Take a card from an account. Raises `NotFound`."""
    card = _held(desk, account_id, sha256)
    card.state = REMOVED
    desk.record(CardRemoved(account=account_id, certificate=card.certificate, cause=cause))
    return card


def describe(card: Card) -> dict[str, Any]:
    """A card as commands show it; instants are RFC 3339 text."""
    return {
        "sha256": card.certificate,
        "subject": card.subject,
        "issuer": card.issuer,
        "serial": card.serial,
        "anchor": card.anchor,
        "state": card.state,
        "expires_at": clock.text(card.expires_at),
        "added_at": clock.text(card.added_at),
        "last_used_at": None if card.last_used_at is None else clock.text(card.last_used_at),
    }


def in_words(card: Card, t: Translator) -> Means:
    """A card as its holder reads about it."""
    facts = [(t(N_("Card holder")), card.subject), (t(N_("Valid until")), t.instant(card.expires_at))]
    if card.last_used_at is not None:
        facts.append((t(N_("Last used on")), t.instant(card.last_used_at)))
    return Means(t(N_("Blocked smartcard") if card.state == BLOCKED else N_("Smartcard")), tuple(facts))


def _held(desk: Desk, account_id: str, sha256: str) -> Card:
    card = desk.session.execute(
        select(Card).where(Card.account_id == account_id, Card.certificate == sha256.lower(), Card.state != REMOVED)
    ).scalar_one_or_none()
    if card is None:
        raise NotFound("card_unknown", f"the account has no card {sha256}")
    return card

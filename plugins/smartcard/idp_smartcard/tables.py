"""The method's own tables: enrolled cards, and challenges under way."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from idp.plugin import Base, Counted, Instant

ACTIVE, BLOCKED, REMOVED = "active", "blocked", "removed"


class Card(Base):
    """A certificate enrolled to an account. A removed card keeps its row, so that the past can be read.

    `certificate` and `public_key` are SHA-256 in hexadecimal, of the DER certificate and of its SubjectPublicKeyInfo.
    A sign-in matches `certificate` only: a renewed card is another card, and no name in it counts.
    """

    __tablename__ = "idp_smartcard_card"
    __table_args__ = (
        CheckConstraint("state IN ('active', 'blocked', 'removed')", name="state"),
        Index(
            "uq_idp_smartcard_card_certificate",
            "certificate",
            unique=True,
            sqlite_where=text("state <> 'removed'"),
            postgresql_where=text("state <> 'removed'"),
        ),
    )

    id: Mapped[int] = mapped_column(Counted, primary_key=True)
    account_id: Mapped[str] = mapped_column(String(36), ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    certificate: Mapped[str] = mapped_column(String(64))
    public_key: Mapped[str] = mapped_column(String(64), index=True)
    issuer: Mapped[str] = mapped_column(Text)
    serial: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[int] = mapped_column(Instant)
    anchor: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(8), server_default=text("'active'"))
    added_at: Mapped[int] = mapped_column(Instant)
    last_used_at: Mapped[int | None] = mapped_column(Instant)


class Challenge(Base):
    """One open question of one attempt for one purpose. The nonce is derived from `seed`, so that none is stored."""

    __tablename__ = "idp_smartcard_challenge"

    attempt_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    purpose: Mapped[str] = mapped_column(String(8), primary_key=True)
    seed: Mapped[str] = mapped_column(String(64))
    expires_at: Mapped[int] = mapped_column(Instant, index=True)

"""The method's own tables: the seed of an account with its count of wrong codes, and its recovery codes."""

from sqlalchemy import ForeignKey, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from idp.plugin import Base, Instant


class Seed(Base):
    """The secret that an account shares with an application, sealed; good for sign-ins once `confirmed_at` is set.

    `last_step` is the newest 30-second step whose code was accepted. `failed` counts wrong answers in a row, and
    `closed_until` says how long none is looked at after too many.
    """

    __tablename__ = "idp_totp_seed"

    account_id: Mapped[str] = mapped_column(String(36), ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    begun_at: Mapped[int] = mapped_column(Instant)
    confirmed_at: Mapped[int | None] = mapped_column(Instant)
    last_step: Mapped[int] = mapped_column(Instant, server_default=text("0"))
    last_used_at: Mapped[int | None] = mapped_column(Instant)
    failed: Mapped[int] = mapped_column(server_default=text("0"))
    closed_until: Mapped[int | None] = mapped_column(Instant)


class Recovery(Base):
    """A code for the day when the application is lost, as a keyed hash over account and code; good once."""

    __tablename__ = "idp_totp_recovery"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[str] = mapped_column(String(36), ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    used_at: Mapped[int | None] = mapped_column(Instant)

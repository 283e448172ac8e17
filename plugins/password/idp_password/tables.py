"""The method's own tables: the password in use, and retired ones for as long as their reuse is banned."""

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from idp.plugin import Base, Counted, Instant


class Password(Base):
    """The password of one account, as argon2id under a pepper."""

    __tablename__ = "idp_password_hash"

    account_id: Mapped[str] = mapped_column(String(36), ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    hash: Mapped[str] = mapped_column(Text)
    changed_at: Mapped[int] = mapped_column(Instant)


class Former(Base):
    """A password that was replaced at `retired_at`."""

    __tablename__ = "idp_password_former"

    id: Mapped[int] = mapped_column(Counted, primary_key=True)
    account_id: Mapped[str] = mapped_column(String(36), ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    hash: Mapped[str] = mapped_column(Text)
    retired_at: Mapped[int] = mapped_column(Instant)

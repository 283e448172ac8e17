"""enrolled cards, and challenges under way"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "idp_smartcard_card",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("certificate", sa.String(64), nullable=False),
        sa.Column("public_key", sa.String(64), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("anchor", sa.Text(), nullable=False),
        sa.Column("state", sa.String(8), server_default=sa.text("'active'"), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state IN ('active', 'blocked', 'removed')", name=op.f("ck_idp_smartcard_card_state")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_idp_smartcard_card_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idp_smartcard_card")),
    )
    op.create_index(op.f("ix_idp_smartcard_card_account_id"), "idp_smartcard_card", ["account_id"])
    op.create_index(op.f("ix_idp_smartcard_card_public_key"), "idp_smartcard_card", ["public_key"])
    op.create_index(
        "uq_idp_smartcard_card_certificate",
        "idp_smartcard_card",
        ["certificate"],
        unique=True,
        sqlite_where=sa.text("state <> 'removed'"),
        postgresql_where=sa.text("state <> 'removed'"),
    )
    op.create_table(
        "idp_smartcard_challenge",
        sa.Column("attempt_id", sa.String(64), nullable=False),
        sa.Column("purpose", sa.String(8), nullable=False),
        sa.Column("seed", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("attempt_id", "purpose", name=op.f("pk_idp_smartcard_challenge")),
    )
    op.create_index(op.f("ix_idp_smartcard_challenge_expires_at"), "idp_smartcard_challenge", ["expires_at"])


def downgrade() -> None:
    op.drop_table("idp_smartcard_challenge")
    op.drop_table("idp_smartcard_card")

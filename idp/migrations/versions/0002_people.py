"""what a person says of herself, and requests to join an entity"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_PENDING = sa.text("state = 'pending'")


def upgrade() -> None:
    for column in (
        sa.Column("title", sa.String(8), nullable=True),
        sa.Column("phone_office", sa.Text(), nullable=True),
        sa.Column("address", sa.JSON(), nullable=True),
        sa.Column("representative_kind", sa.String(16), nullable=True),
        sa.Column("representative_number", sa.Text(), nullable=True),
        sa.Column("representative_verified", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    ):
        op.add_column("accounts", column)
    op.create_table(
        "join_requests",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("entity_id", sa.String(36), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.Column("decided_by", sa.String(36), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'accepted', 'refused', 'expired', 'cancelled')", name=op.f("ck_join_requests_state")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_join_requests_account_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["entity_id"], ["entities.id"], name=op.f("fk_join_requests_entity_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_join_requests")),
    )
    op.create_index(op.f("ix_join_requests_account_id"), "join_requests", ["account_id"])
    op.create_index(op.f("ix_join_requests_entity_id"), "join_requests", ["entity_id"])
    op.create_index(
        "uq_join_requests_pending",
        "join_requests",
        ["account_id"],
        unique=True,
        sqlite_where=_PENDING,
        postgresql_where=_PENDING,
    )


def downgrade() -> None:
    op.drop_table("join_requests")
    for column in (
        "representative_verified", "representative_number", "representative_kind", "address", "phone_office", "title",
    ):  # fmt: skip
        op.drop_column("accounts", column)

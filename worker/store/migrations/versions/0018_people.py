"""The ledger of consents, and the keyed hashes of forgotten numbers

The version before writes neither table. It does not know who was forgotten, so nobody should be forgotten before every
process of the fleet has been restarted.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "consent_event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("phone", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True)),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("answer", sa.String(length=40), nullable=False),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("connection", sa.String()),
        sa.Column("external_id", sa.String()),
        sa.Column("field", sa.String(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
    )
    op.create_index("ix_consent_event_phone", "consent_event", ["phone", "id"])
    stated_by_a_record = sa.text("external_id IS NOT NULL")
    op.create_index(
        "ix_consent_event_record",
        "consent_event",
        ["connection", "external_id", "id"],
        sqlite_where=stated_by_a_record,
        postgresql_where=stated_by_a_record,
    )
    op.create_table(
        "forgotten",
        sa.Column("digest", sa.String(length=64), primary_key=True),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opted_out", sa.Boolean(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("lifted_at", sa.DateTime(timezone=True)),
        sa.Column("phone", sa.String()),
    )
    op.create_index("ix_forgotten_subject", "forgotten", ["subject"])
    not_lifted = sa.text("lifted_at IS NULL")
    op.create_index("ix_forgotten_key", "forgotten", ["key_id"], sqlite_where=not_lifted, postgresql_where=not_lifted)


def downgrade() -> None:
    """Take back."""
    op.drop_table("forgotten")
    op.drop_table("consent_event")

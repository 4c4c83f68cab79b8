"""Replies, the Relay, carriers, date triggers, API keys, and what is handed on to CRMs and services"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("key_hash", sa.String(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("accounts", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=80), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "carrier_state",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("polled_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_poll_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "date_plan",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("trigger", sa.String(), nullable=False),
        sa.Column("connection", sa.String(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=False),
        sa.Column("occurrence", sa.String(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("trigger", "connection", "external_id", name="uq_date_plan"),
    )
    with op.batch_alter_table("date_plan", schema=None) as batch_op:
        batch_op.create_index("ix_date_plan_due", ["due_at"], unique=False)

    op.create_table(
        "forward",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("type", sa.String(length=40), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("event_id", "target", name="uq_forward_event_target"),
    )
    with op.batch_alter_table("forward", schema=None) as batch_op:
        batch_op.create_index("ix_forward_due", ["state", "due_at"], unique=False)
        batch_op.create_index("ix_forward_target", ["target", "state", "due_at"], unique=False)

    op.create_table(
        "heartbeat",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("version", sa.String(length=40), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "inbound_message",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("from_number", sa.String(), nullable=False),
        sa.Column("to_number", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("media", sa.Text(), nullable=False),
        sa.Column("keyword", sa.String(length=40), nullable=False),
        sa.Column("virtualtext_message_id", sa.String(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account", "virtualtext_message_id", name="uq_inbound_remote_id"),
    )
    with op.batch_alter_table("inbound_message", schema=None) as batch_op:
        batch_op.create_index("ix_inbound_from", ["from_number", "received_at"], unique=False)

    op.create_table(
        "inbox_event",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("message_id", sa.String(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("inbox_event", schema=None) as batch_op:
        batch_op.create_index("ix_inbox_due", ["state", "due_at"], unique=False)
        batch_op.create_index("ix_inbox_received", ["received_at"], unique=False)

    op.create_table(
        "number_review",
        sa.Column("phone", sa.String(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("inbound_id", sa.String(), nullable=True),
        sa.Column("excerpt", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("phone"),
    )
    op.create_table(
        "opt_out_event",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("phone", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opted_out", sa.Boolean(), nullable=False),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("opt_out_event", schema=None) as batch_op:
        batch_op.create_index("ix_opt_out_event_phone", ["phone", "id"], unique=False)

    op.create_table(
        "public_event",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("type", sa.String(length=40), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("phone", sa.String(), nullable=False),
        sa.Column("message_id", sa.String(), nullable=True),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("account_state", schema=None) as batch_op:
        batch_op.add_column(sa.Column("pause_reason", sa.String(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("trips", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("rate_ceiling", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("rate_lowered_at", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.add_column(sa.Column("urgent", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.add_column(sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.create_index("ix_message_carrier_id", ["carrier_message_id"], unique=False)
        batch_op.create_index("ix_message_expiry", ["state", "expires_at"], unique=False)
        batch_op.create_index("ix_message_remote_id", ["account", "virtualtext_message_id"], unique=False)
        batch_op.create_index("ix_message_to", ["to_number", "created_at"], unique=False)
        batch_op.create_index("ix_message_trigger", ["trigger", "created_at"], unique=False)
        batch_op.create_index("ix_message_attempted", ["account", "attempted_at"], unique=False)


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.drop_index("ix_message_attempted")
        batch_op.drop_index("ix_message_trigger")
        batch_op.drop_index("ix_message_to")
        batch_op.drop_index("ix_message_remote_id")
        batch_op.drop_index("ix_message_expiry")
        batch_op.drop_index("ix_message_carrier_id")
        batch_op.drop_column("approved_at")
        batch_op.drop_column("urgent")

    with op.batch_alter_table("account_state", schema=None) as batch_op:
        for name in ("rate_lowered_at", "rate_ceiling", "trips", "pause_reason"):
            batch_op.drop_column(name)

    op.drop_table("public_event")
    with op.batch_alter_table("opt_out_event", schema=None) as batch_op:
        batch_op.drop_index("ix_opt_out_event_phone")

    op.drop_table("opt_out_event")
    op.drop_table("number_review")
    with op.batch_alter_table("inbox_event", schema=None) as batch_op:
        batch_op.drop_index("ix_inbox_received")
        batch_op.drop_index("ix_inbox_due")

    op.drop_table("inbox_event")
    with op.batch_alter_table("inbound_message", schema=None) as batch_op:
        batch_op.drop_index("ix_inbound_from")

    op.drop_table("inbound_message")
    with op.batch_alter_table("forward", schema=None) as batch_op:
        batch_op.drop_index("ix_forward_target")
        batch_op.drop_index("ix_forward_due")

    op.drop_table("heartbeat")
    op.drop_table("forward")
    with op.batch_alter_table("date_plan", schema=None) as batch_op:
        batch_op.drop_index("ix_date_plan_due")

    op.drop_table("date_plan")
    op.drop_table("carrier_state")
    op.drop_table("api_key")

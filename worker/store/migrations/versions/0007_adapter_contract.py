"""Connections: listings, fingerprints, waiting and stopping, memory, grants and budgets; records of a person

Only new tables and columns with defaults, so the version before works on with the new tables. ``confirmed_at`` starts
as the end of the last complete run, so that its records count as confirmed. More dates can be read now, and some were
read with the wrong month, so the next complete sync plans every record of a date trigger again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TIMES = ("confirmed_at", "started_at", "reconciled_at", "waits_until", "stopped_at")
TEXTS = {"waits_reason": "", "stopped_reason": "", "memory": "{}", "notes": "[]", "shape": "{}"}
OF_A_PERSON = sa.text("person IS NOT NULL")
CONFIRMED = """
    UPDATE connection_state SET confirmed_at = (
        SELECT MAX(finished_at) FROM sync_run
        WHERE sync_run.connection = connection_state.connection AND sync_run.state = 'done'
    )
"""
PLAN_AGAIN = 'UPDATE trigger_state SET active_since = NULL WHERE "trigger" IN (SELECT "trigger" FROM date_plan)'


def upgrade() -> None:
    """Apply."""
    for name in TIMES:
        op.add_column("connection_state", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    for name, empty in TEXTS.items():
        op.add_column("connection_state", sa.Column(name, sa.Text(), nullable=False, server_default=empty))
    op.add_column("connection_state", sa.Column("fingerprint", sa.String(), nullable=False, server_default=""))
    op.add_column("connection_state", sa.Column("listing", sa.LargeBinary(), nullable=True))
    op.execute(CONFIRMED)
    op.execute("UPDATE connection_state SET reconciled_at = confirmed_at")
    # An adapter with a memory may find more ids than the version before. The records that this one stored keep theirs.
    op.execute("""UPDATE connection_state SET memory = '{"upgraded": true}'""")
    op.execute(PLAN_AGAIN)
    op.add_column("contact_mapping", sa.Column("kind", sa.String(), nullable=False, server_default="contact"))
    op.add_column("contact_mapping", sa.Column("person", sa.String(), nullable=True))
    op.create_index(
        "ix_mapping_person",
        "contact_mapping",
        ["connection", "person"],
        sqlite_where=OF_A_PERSON,
        postgresql_where=OF_A_PERSON,
    )
    op.create_table(
        "crm_grant",
        sa.Column("connection", sa.String(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("connected_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("renewed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("renewing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.String(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("connection"),
    )
    op.create_table(
        "crm_budget",
        sa.Column("connection", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("connection", "name"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("crm_budget")
    op.drop_table("crm_grant")
    op.drop_index("ix_mapping_person", "contact_mapping")
    op.drop_column("contact_mapping", "person")
    op.drop_column("contact_mapping", "kind")
    for name in ("listing", "fingerprint", *TEXTS, *TIMES):
        op.drop_column("connection_state", name)

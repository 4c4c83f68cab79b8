"""Opt-outs know their account; the scopes that API keys had are split

The version before writes opt-outs without an account, which then only keys for all accounts and people may lift. An
opt-out gets the account that alone has a contact, a text or a reply with its number. Existing keys keep what they could
do: lifting opt-outs and urgent texts are scopes of their own now.
"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0012"
branch_labels = None
depends_on = None

ADDED = {"opt-outs:write": "opt-outs:lift", "messages:write": "messages:urgent"}
ONLY_ACCOUNT = """
    UPDATE opt_out SET account = known.account
    FROM (
        SELECT phone, MIN(account) AS account
        FROM (
            SELECT account, phone FROM contact WHERE phone IN (SELECT phone FROM opt_out)
            UNION ALL SELECT account, to_number FROM message WHERE to_number IN (SELECT phone FROM opt_out)
            UNION ALL SELECT account, from_number FROM inbound_message WHERE from_number IN (SELECT phone FROM opt_out)
        ) AS of_accounts
        GROUP BY phone
        HAVING MIN(account) = MAX(account)
    ) AS known
    WHERE known.phone = opt_out.phone
"""
KEYS = sa.table("api_key", sa.column("id", sa.String), sa.column("scopes", sa.Text))


def upgrade() -> None:
    """Apply."""
    op.add_column("opt_out", sa.Column("account", sa.String(), nullable=False, server_default=""))
    op.execute(ONLY_ACCOUNT)
    for key_id, scopes in _keys():
        _store_scopes(key_id, [*scopes, *(new for old, new in ADDED.items() if old in scopes)])


def downgrade() -> None:
    """Take back."""
    for key_id, scopes in _keys():
        _store_scopes(key_id, [one for one in scopes if one not in ADDED.values()])
    op.drop_column("opt_out", "account")


def _keys() -> list[tuple[str, list[str]]]:
    rows = op.get_bind().execute(sa.select(KEYS.c.id, KEYS.c.scopes)).all()
    return [(row.id, json.loads(row.scopes)) for row in rows]


def _store_scopes(key_id: str, scopes: list[str]) -> None:
    changed = json.dumps(list(dict.fromkeys(scopes)))
    op.get_bind().execute(sa.update(KEYS).where(KEYS.c.id == key_id).values(scopes=changed))

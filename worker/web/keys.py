"""API keys: ``vtk_<id>_<secret>``, or ``vtk_test_<id>_<secret>`` for tests.

Only a hash of the secret is stored; a key is shown once, when it is created.

A key may do only what its scopes name, and only for its accounts.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias, get_args

import orjson
from sqlalchemy import Connection, Row, insert, select, update

from worker.messages.request_problems import unknown_name
from worker.store.tables import api_key

Scope: TypeAlias = Literal[
    "messages:write",
    "messages:urgent",
    "messages:read",
    "records:write",
    "opt-outs:write",
    "opt-outs:lift",
    "contacts:read",
    "people:read",
    "people:forget",
    "operate:read",
    "operate:write",
    "metrics:read",
]
SCOPES: tuple[Scope, ...] = get_args(Scope)
SCOPE_HELP: dict[Scope, str] = {
    "messages:write": "send texts, now or later, and cancel those that wait",
    "messages:urgent": "with messages:write: send texts in quiet hours, too (`urgent`)",
    "messages:read": "read texts, their states and histories",
    "records:write": "put texts that were sent elsewhere into their conversations",
    "opt-outs:write": "stop texts to a number",
    "opt-outs:lift": "allow texts to a number again that had opted out",
    "contacts:read": "read contacts, replies and opt-outs",
    "people:read": "export everything that is stored about a person",
    "people:forget": "erase everything that is stored about a person",
    "operate:read": "see what waits for a decision or failed, connections, deliveries, why a number got a text or not",
    "operate:write": "decide: about texts, replies, contacts, deliveries and refused events; sync, pause and resume",
    "metrics:read": "read metrics and the state of the fleet, which show all accounts",
}
FLEET_SCOPES: tuple[Scope, ...] = ("metrics:read",)
"""Scopes that show all accounts, so only keys for all accounts can have them."""
TEST_SCOPES: tuple[Scope, ...] = ("messages:write", "messages:urgent", "messages:read", "records:write")
"""What a test key may have. It reads and changes nothing but its tests."""
USED_EVERY = timedelta(minutes=1)

_KEY = re.compile(r"vtk_(test_)?([0-9a-f]{12})_([0-9A-Za-z_-]{43})")


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret. ``accounts``: the accounts that it may use; empty means all.

    ``test``: what it makes is decided about like anything else, and never leaves. It sees only what test keys made.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    accounts: tuple[str, ...]
    created_at: datetime
    created_by: str
    revoked_at: datetime | None
    last_used_at: datetime | None
    test: bool = False

    @property
    def actor(self) -> str:
        """The name of the key in histories and in the audit trail."""
        return f"key {self.name}"

    @property
    def sees(self) -> bool | None:
        """The ``test`` of the messages that the key sees: True for a test key, None (any) for the others."""
        return True if self.test else None

    def may_use(self, account: str) -> bool:
        """Return whether the key may text or read for ``account``."""
        return not self.accounts or account in self.accounts

    def has(self, scope: Scope) -> bool:
        """Return whether the key has the scope and it is of use: those for the fleet need a key for all accounts."""
        return scope in self.scopes and not (scope in FLEET_SCOPES and self.accounts)


def create_key(
    connection: Connection,
    name: str,
    scopes: Sequence[str],
    accounts: Sequence[str],
    *,
    created_by: str,
    now: datetime,
    test: bool = False,
) -> str:
    """Create a key and return it with its secret, which is not stored. No ``accounts``: all, also later ones.

    Raises ValueError for no scopes, unknown ones, those for the fleet in a key of some accounts, and those that a
    ``test`` key cannot have.
    """
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown:
        raise ValueError(f"the scope {unknown_name(unknown[0], SCOPES)}")
    if not scopes:
        raise ValueError(f"the key has no scope; there are: {', '.join(SCOPES)}")
    if accounts and (of_the_fleet := [scope for scope in scopes if scope in FLEET_SCOPES]):
        raise ValueError(f"{of_the_fleet[0]} shows all accounts, so a key for some accounts cannot have it")
    if test and (real := [scope for scope in scopes if scope not in TEST_SCOPES]):
        raise ValueError(f"a test key cannot have {real[0]}; it can have: {', '.join(TEST_SCOPES)}")
    # The secret has 256 random bits, so a plain hash of it cannot be reversed by guessing.
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    row = {
        "id": key_id,
        "name": name,
        "key_hash": _digest(secret),
        "scopes": orjson.dumps(list(scopes)).decode(),
        "accounts": orjson.dumps(list(accounts)).decode(),
        "created_at": now,
        "created_by": created_by[:80],
        "test": test,
    }
    connection.execute(insert(api_key), row)
    return f"vtk_{'test_' if test else ''}{key_id}_{secret}"


def find_key(connection: Connection, given: str) -> Key | None:
    """Return the key if it exists and is not revoked. Takes the same time for a wrong secret as for a right one."""
    match = _KEY.fullmatch(given)
    if match is None:
        return None
    row = connection.execute(select(api_key).where(api_key.c.id == match[2])).first()
    right = hmac.compare_digest(_digest(match[3]), row.key_hash if row is not None else _digest(""))
    if row is None or not right or row.revoked_at is not None:
        return None
    return _key(row) if row.test == bool(match[1]) else None  # a key is used as it was given, so that nobody is misled


def note_use(connection: Connection, key: Key, now: datetime) -> None:
    """Store that the key was used, at most once a minute."""
    if key.last_used_at is None or now - key.last_used_at >= USED_EVERY:
        connection.execute(update(api_key).where(api_key.c.id == key.id).values(last_used_at=now))


def revoke_key(connection: Connection, key_id: str, now: datetime) -> bool:
    """Revoke a key. Return False when there is no such key, or it was revoked before."""
    mine = (api_key.c.id == key_id) & api_key.c.revoked_at.is_(None)
    return connection.execute(update(api_key).where(mine).values(revoked_at=now)).rowcount == 1


def all_keys(connection: Connection) -> list[Key]:
    """Return all keys, newest first."""
    return [_key(row) for row in connection.execute(select(api_key).order_by(api_key.c.created_at.desc()))]


def _key(row: Row[Any]) -> Key:
    return Key(
        row.id,
        row.name,
        tuple(orjson.loads(row.scopes)),
        tuple(orjson.loads(row.accounts)),
        row.created_at,
        row.created_by,
        row.revoked_at,
        row.last_used_at,
        row.test,
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()

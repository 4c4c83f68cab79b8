"""What ends a message that must not leave: one of an account in test mode, or one that was made with a test key.

Such a message passes through the whole outbox and every rule of the policy. It ends where its request would begin, as
``simulated``. It stays so: it is not sent when the account goes live. ``worker.virtualtext.client`` refuses the request
once more, in case anything else would make one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from config.models import Account, Settings
from worker.core.states import MessageState
from worker.core.text import counted
from worker.messages.claims import owned
from worker.messages.results import resolve_advice, simulated_reason
from worker.messages.states import Ground
from worker.messages.transitions import move, reason_text
from worker.store.leases import Lease
from worker.virtualtext.client import NOT_IN_TEST_MODE
from worker.virtualtext.outcomes import may_reach

BY_TEST_KEY = "it was made with a test key"


def why_simulated(to_number: str, only_numbers: frozenset[str] | None, *, test: bool) -> str:
    """Return why a message to this number never leaves, for a person; "" if it may. Pure."""
    if test:
        return BY_TEST_KEY
    return "" if may_reach(to_number, only_numbers) else NOT_IN_TEST_MODE


def notes_on_test_mode(settings: Settings) -> list[str]:
    """Return a sentence for each account in test mode, for a person."""
    return [
        f"TEST MODE: the account {name} writes nothing to VirtualText, {_exception(name, account)}"
        for name, account in settings.accounts.items()
        if account.mode == "test"
    ]


def _exception(name: str, account: Account) -> str:
    if not account.test_numbers:
        return f"for anybody (accounts.{name}.test_numbers is empty)"
    return f"except about {counted(len(account.test_numbers), 'number')} (accounts.{name}.test_numbers)"


def is_rehearsed(settings: Settings, row: Mapping[str, Any]) -> bool:
    """Return True if the message (``row``: its columns) never leaves with these settings. Pure."""
    account = settings.accounts.get(row["account"])
    only_numbers = None if account is None else account.only_numbers
    return bool(why_simulated(row["to_number"], only_numbers, test=bool(row.get("test"))))


def simulate(
    connection: Connection, lease: Lease, row: Row[Any], only_numbers: frozenset[str] | None, now: datetime
) -> MessageState | None:
    """End a message whose request would begin now and must not. Return its state; None: the request may begin.

    An earlier attempt without a response, made while the account was live, may have been carried out. Such a message
    is unknown again, because "simulated" would say that nothing was sent.
    """
    why = why_simulated(row.to_number, only_numbers, test=row.test)
    if not why:
        return None
    after, reason = MessageState.SIMULATED, simulated_reason(now, why)
    if row.unanswered_at is not None:
        explanation = (
            f"it is not tried again: {why}; the attempt of {row.unanswered_at:%Y-%m-%d %H:%M:%S} UTC may have been"
            f" carried out; {resolve_advice(row.id)}"
        )
        after, reason = MessageState.UNKNOWN, reason_text("test", explanation)
    move(
        connection,
        MessageState.QUEUED,
        after,
        owned(lease.owner, row.id),
        ground=Ground.TEST,
        reason=reason,
        actor="worker",
        now=now,
        attempted_at=now if after is MessageState.SIMULATED else row.attempted_at,
    )
    return after

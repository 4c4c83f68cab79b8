"""The policies of accounts, connections and triggers, with a store: what each limit counts, and which one is named."""

from __future__ import annotations

from datetime import time, timedelta
from typing import Any

import pytest

from config.models import Connection, Policy
from config.policy import PolicyOverride
from config.policy_levels import policy_for
from config.triggers import CreatedTrigger
from tests.messages.conftest import Outbox, crm_record_of, number
from worker.core.states import MessageState
from worker.messages.batches import BatchVerdict, release_or_hold_batch
from worker.messages.decisions import retry
from worker.messages.delivery import deliver_due
from worker.messages.intents import insert_intents
from worker.store.db import writing
from worker.store.models import utcnow
from worker.triggers.evaluate import TextIntent

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

OFF: dict[str, Any] = {"quiet_hours": "none", "duplicate_window": timedelta(0), "max_per_contact": None}


def configure(
    box: Outbox,
    account: dict[str, Any] | None = None,
    connection: dict[str, Any] | None = None,
    triggers: dict[str, dict[str, Any]] | None = None,
    **policy: Any,
) -> None:
    """Set the tables of the account, the connection "crm" and its triggers, and `[policy]`."""

    def override(keys: dict[str, Any] | None) -> PolicyOverride | None:
        return None if keys is None else PolicyOverride(**keys)

    settings = box.runtime.settings
    accounts = {"main": settings.accounts["main"].model_copy(update={"policy": override(account)})}
    names = triggers or {"welcome": {}}
    update = {
        "policy": Policy(**(OFF | policy)),
        "accounts": accounts,
        "connections": {"crm": Connection(adapter="csv", account="main", policy=override(connection))},
        "triggers": {
            name: CreatedTrigger(connections=("crm",), on="created", message="Hi", policy=override(keys or None))
            for name, keys in names.items()
        },
    }
    box.runtime.settings = settings.model_copy(update=update)


def sync(box: Outbox, batch: str, **people: range) -> BatchVerdict:
    """A sync run in which each trigger texts these people."""
    intents = []
    for index in sorted({index for numbers in people.values() for index in numbers}):
        crm_record_of(box.engine, "crm", str(index), number(index))
    for trigger, numbers in people.items():
        for index in numbers:
            text = f"{trigger} {index}"
            intents.append(TextIntent(trigger, "crm", str(index), None, number(index), text, (), None, None, "created"))
    settings, now = box.runtime.settings, utcnow()
    policy = policy_for(settings, connection="crm")
    own = {name: policy_for(settings, connection="crm", trigger=name) for name in settings.triggers}
    with writing(box.engine) as connection:
        insert_intents(connection, "main", "+14155550100", batch, intents, settings, now)
        return release_or_hold_batch(connection, batch, policy.blast_limit, now, policy, of_trigger=own)


def reasons(box: Outbox, state: MessageState) -> set[str]:
    return {box.row(one).reason for one, found in box.states().items() if found is state}


def test_a_triggers_cap_counts_every_text_to_the_number(box: Outbox) -> None:
    configure(box, triggers={"birthday": {"max_per_contact": 1}, "ready": {}}, max_per_contact=5)
    box.send(number(1), "an order")
    deliver_due(box.runtime)
    sync(box, "b1", birthday=range(1, 3), ready=range(1, 2))
    deliver_due(box.runtime)
    assert sorted(body.to for body in box.client.sent) == [number(1), number(1), number(2)]
    (reason,) = reasons(box, MessageState.QUEUED)
    assert "all that triggers.birthday.policy.max_per_contact allows" in reason


def test_the_cap_of_an_account_is_for_its_jobs_too(box: Outbox) -> None:
    configure(box, account={"max_per_contact": 1, "max_per_account": 2}, max_per_contact=5)
    for text in ("one", "two"):
        box.send(number(1), text)
    for index in (2, 3):
        box.send(number(index), "three")
    deliver_due(box.runtime)
    assert len(box.client.sent) == 2
    said = "".join(reasons(box, MessageState.QUEUED))
    assert "all that accounts.main.policy.max_per_contact allows" in said
    assert "all that accounts.main.policy.max_per_account allows" in said


# [policy], the connection's table, those of the triggers, the people of each trigger; how many go, and what is named
BLASTS = [
    (3, None, {"a": {}, "b": {}}, {"a": range(2), "b": range(2, 4)}, 0, "policy.blast_limit allows"),
    (3, {"blast_limit": 4}, {"a": {}, "b": {}}, {"a": range(2), "b": range(2, 4)}, 4, ""),
    (9, {"blast_limit": 3}, {"a": {}, "b": {}}, {"a": range(4)}, 0, "connections.crm.policy.blast_limit allows"),
    (3, None, {"a": {"blast_limit": 50}, "b": {}}, {"a": range(20), "b": range(20, 23)}, 23, ""),
    (
        3,
        None,
        {"a": {"blast_limit": 50}, "b": {}},
        {"a": range(20), "b": range(20, 24)},
        20,
        "policy.blast_limit allows",
    ),
    (
        9,
        None,
        {"a": {"blast_limit": 2}, "b": {}},
        {"a": range(3), "b": range(3, 6)},
        3,
        "triggers.a.policy.blast_limit",
    ),
    (
        9,
        None,
        {"a": {"blast_limit": 0}, "b": {}},
        {"a": range(1), "b": range(1, 3)},
        2,
        "triggers.a.policy.blast_limit",
    ),
]


@pytest.mark.parametrize(("general", "connection", "triggers", "people", "go", "named"), BLASTS)
def test_whose_people_a_blast_limit_counts(
    box: Outbox,
    general: int,
    connection: dict[str, Any] | None,
    triggers: dict[str, dict[str, Any]],
    people: dict[str, range],
    go: int,
    named: str,
) -> None:
    configure(box, connection=connection, triggers=triggers, blast_limit=general)
    verdict = sync(box, "b1", **people)
    total = sum(map(len, people.values()))
    assert (verdict.released, verdict.held, verdict.total) == (go, total - go, total)
    assert all(named in reason for reason in (*verdict.reasons, *reasons(box, MessageState.HELD)))
    assert bool(verdict.reasons) is (go < total)


def test_slices_of_an_import_count_by_the_triggers_own_limit(box: Outbox) -> None:
    configure(box, triggers={"a": {"blast_limit": 4}}, blast_limit=100)
    assert sync(box, "b1", a=range(3)).released == 3
    verdict = sync(box, "b2", a=range(3, 6))
    assert (verdict.released, verdict.held) == (0, 3)
    assert "more than triggers.a.policy.blast_limit (4)" in verdict.reasons[0]


def test_a_triggers_hours_and_expiry_are_its_own(box: Outbox) -> None:
    """Its window lies in the hour that is farthest from now, so that it is always closed."""
    now = utcnow()
    closed = time((now.hour + 12) % 22)
    hours = {"quiet_hours": "us", "text_from": closed, "text_until": closed.replace(minute=1), "expires_after": "5d"}
    configure(box, triggers={"slow": hours, "fast": {}}, expires_after=timedelta(hours=2))
    sync(box, "b1", slow=range(1), fast=range(1, 2))
    deliver_due(box.runtime)
    assert [body.to for body in box.client.sent] == [number(1)]
    by_text = {box.row(one).text: box.row(one) for one in box.states()}
    slow, fast = by_text["slow 0"], by_text["fast 1"]
    assert slow.state in (MessageState.QUEUED, MessageState.HELD)
    assert "triggers.slow.policy.text_from" in slow.reason
    assert (slow.expires_at - slow.created_at, fast.expires_at - fast.created_at) == (
        timedelta(days=5),
        timedelta(hours=2),
    )


def test_a_text_that_is_asked_for_again_expires_by_its_own_table(box: Outbox) -> None:
    configure(box, triggers={"a": {"expires_after": "3d"}, "b": {}}, connection={"expires_after": "2d"})
    sync(box, "b1", a=range(1), b=range(1, 2))
    job = box.send(number(5), "a job")
    box.change(state=MessageState.REJECTED, expires_at=utcnow() - timedelta(days=1))
    before = utcnow()
    assert retry(box.runtime, list(box.states()), "ann") == 3
    left = {box.row(one).text: round((box.row(one).expires_at - before) / timedelta(days=1)) for one in box.states()}
    assert left == {"a 0": 3, "b 1": 2, "a job": 1}
    assert box.row(job).expires_at is not None

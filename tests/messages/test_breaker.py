"""When a trigger that texts more than it used to is stopped."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import insert

from config.policy import Policy
from tests.messages.conftest import Outbox, number
from worker.core.states import MessageState
from worker.messages.breaker import check, trips
from worker.store.db import reading, writing
from worker.store.ids import new_message_id
from worker.store.models import utcnow
from worker.store.tables import message

# On SQLite alone: test_policy_database asks the same statements of PostgreSQL.
ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

POLICY = Policy(breaker_factor=5.0, breaker_floor=20)


@pytest.mark.parametrize(
    ("fired", "busiest", "held", "why"),
    [
        (1_000_000, None, False, "its past is too short to compare with"),
        (20, 0, False, "the floor"),
        (20, 1, False, "the floor is more than five times one"),
        (21, 1, True, "one more than the floor"),
        (21, 4, True, "five times four is the floor"),
        (25, 5, False, "exactly five times"),
        (26, 5, True, "more than five times"),
        (500, 100, False, "exactly five times"),
        (501, 100, True, "more than five times"),
    ],
)
def test_when_it_trips(fired: int, busiest: int | None, held: bool, why: str) -> None:
    reason = trips(fired, busiest, POLICY)
    assert (reason is not None) == held, why
    if reason is not None:
        assert f"made {fired} texts in 24 hours" in reason
        assert "vtsync approve --trigger" in reason


def past(box: Outbox, texts: list[tuple[float, MessageState]]) -> None:
    """Texts of the trigger, so many hours ago, in that state."""
    row = dict(box.row(box.send(number(90)))._mapping)
    rows = [
        row | {"id": new_message_id(), "idempotency_key": f"past:{n}", "trigger": "t", "state": state, "created_at": at}
        for n, (hours, state) in enumerate(texts)
        for at in [utcnow() - timedelta(hours=hours)]
    ]
    with writing(box.engine) as connection:
        connection.execute(insert(message), rows)


def held(box: Outbox, policy: Policy, more: int = 0) -> bool:
    with reading(box.engine) as connection:
        return check(connection, "t", policy, utcnow(), more=more) is not None


STRICT = Policy(breaker_factor=1.0, breaker_floor=1)
DONE = MessageState.DELIVERED


@ON_SQLITE
def test_the_busiest_of_earlier_days_is_the_measure(box: Outbox) -> None:
    past(box, [(30, DONE), (54, DONE), (55, DONE), (56, DONE), (78, DONE), *[(1, DONE)] * 3])
    assert not held(box, STRICT)
    assert held(box, STRICT, more=1)


@ON_SQLITE
def test_a_busy_day_of_four_weeks_ago_still_counts(box: Outbox) -> None:
    past(box, [(30, DONE), (54, DONE), *[(24 * 28 + hours, DONE) for hours in (2, 3, 4)], *[(1, DONE)] * 3])
    assert not held(box, STRICT)
    assert held(box, STRICT, more=1)


@ON_SQLITE
def test_without_a_past_a_first_limit_counts(box: Outbox) -> None:
    past(box, [(1, DONE)] * 3)
    with reading(box.engine) as connection:
        assert check(connection, "t", STRICT, utcnow(), more=2, first_limit=5) is None
        reason = check(connection, "t", STRICT, utcnow(), more=3, first_limit=5)
    assert reason is not None
    assert "made 6 texts in 24 hours" in reason
    assert "policy.blast_limit allows up to 5" in reason


@ON_SQLITE
def test_what_was_never_to_be_sent_does_not_count(box: Outbox) -> None:
    never = (MessageState.SUPPRESSED, MessageState.CANCELLED, MessageState.EXPIRED)
    past(box, [(30, DONE), (54, DONE), (78, DONE), (1, DONE), *[(1, state) for state in never]])
    assert not held(box, STRICT)


@ON_SQLITE
def test_what_waits_for_a_person_counts(box: Outbox) -> None:
    past(box, [(30, DONE), (54, DONE), (78, DONE), *[(2, MessageState.HELD)] * 2])
    assert held(box, STRICT)


@ON_SQLITE
def test_two_days_are_no_past_and_five_weeks_ago_is_forgotten(box: Outbox) -> None:
    past(box, [(30, DONE), (54, DONE), (24 * 35, DONE), *[(1, DONE)] * 9])
    assert not held(box, STRICT)


@ON_SQLITE
def test_other_triggers_do_not_count(box: Outbox) -> None:
    past(box, [(30, DONE), (54, DONE), (78, DONE), *[(1, DONE)] * 9])
    assert held(box, STRICT)
    with reading(box.engine) as connection:
        assert check(connection, "another", STRICT, utcnow(), more=99) is None

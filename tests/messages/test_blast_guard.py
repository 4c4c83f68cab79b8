"""How many people a trigger texts in a day before a person has approved it, in however many syncs they come."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from tests.messages.conftest import FakeClient, FakeRuntime, Outbox, number
from tests.messages.test_outbox_machine import _Store
from worker.core.states import MessageState
from worker.messages import blast_guard
from worker.messages.batches import BatchVerdict, release_or_hold_batch
from worker.messages.decisions import approve, cancel
from worker.messages.intents import insert_intents
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import message
from worker.triggers.evaluate import TextIntent

ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.mark.parametrize(
    ("people", "limit", "earlier", "waits", "why"),
    [
        (100, 100, None, False, "exactly the limit"),
        (101, 100, None, True, "one more"),
        (1, 0, None, True, "a limit of 0 asks for everybody"),
        (101, 100, [9, 9, 9], True, "a quiet past allows no less and no more"),
        (130, 25, [130, 130, 130, 0], False, "as many as on three earlier days"),
        (131, 25, [130, 130, 130, 0], True, "one more than usual"),
        (131, 25, [480, 480, 130, 90], True, "two days with an import are not what is usual"),
        (480, 25, [480, 480, 480], False, "three days are"),
    ],
)
def test_when_texts_wait(people: int, limit: int, earlier: Sequence[int] | None, waits: bool, why: str) -> None:
    reason = blast_guard.over_the_day("welcome", people, limit, earlier)
    assert (reason is not None) == waits, why
    if reason is not None:
        assert "people in 24 hours" in reason or "1 person in 24 hours" in reason
        assert f"policy.blast_limit ({limit})" in reason
        assert "`vtsync approve --trigger welcome`" in reason


def slice_of(
    box: Outbox, people: Sequence[int], limit: int, batch: str, trigger: str = "welcome", delay: timedelta | None = None
) -> BatchVerdict:
    """A sync that brings these people, each of whom the trigger would text."""
    intents = [
        TextIntent(trigger, "crm", str(one), None, number(one), "Hi", (), None, None, "created", delay=delay)
        for one in people
    ]
    now = utcnow()
    with writing(box.engine) as connection:
        insert_intents(connection, "main", "+14155550100", batch, intents, box.runtime.settings, now)
        return release_or_hold_batch(connection, batch, limit, now)


def go(box: Outbox, people: Sequence[int], limit: int, batch: str, **more: str) -> tuple[int, int]:
    verdict = slice_of(box, people, limit, batch, **more)
    return verdict.released, verdict.held


def earlier(box: Outbox, hours: float) -> None:
    """As if everything so far had happened so many hours earlier."""
    with writing(box.engine) as connection:
        connection.execute(update(message).values(created_at=utcnow() - timedelta(hours=hours)))


def test_an_import_in_slices_waits_from_the_limit_on(box: Outbox) -> None:
    """The example that was reported: 480 people, 24 with each sync."""
    verdicts = [slice_of(box, range(n, n + 24), 100, f"b{n}") for n in range(0, 480, 24)]
    assert [verdict.released for verdict in verdicts] == [24] * 4 + [0] * 16
    assert sum(verdict.held for verdict in verdicts) == 384
    (reason,) = verdicts[4].reasons
    assert reason.startswith("its trigger would text 120 people in 24 hours, more than policy.blast_limit (100) allows")
    assert approve(box.runtime, trigger="welcome", actor="ann") == 384
    assert set(box.states().values()) == {MessageState.QUEUED}


@ON_SQLITE
def test_what_is_sent_and_what_waits_count_and_what_never_goes_does_not(box: Outbox) -> None:
    assert go(box, range(8), 10, "b1") == (8, 0)
    box.change(state=MessageState.ACCEPTED)
    assert go(box, [8, 9, 10], 10, "b2") == (0, 3)
    assert go(box, [11], 10, "b3") == (0, 1)
    assert cancel(box.runtime, trigger="welcome", actor="ann") == 4
    assert go(box, [12, 13], 10, "b4") == (2, 0)


@ON_SQLITE
def test_people_count_and_not_texts(box: Outbox) -> None:
    intents = [
        TextIntent("welcome", "crm", "1", None, number(1), f"Hi {n}", (), None, None, f"changed:{n}") for n in range(9)
    ]
    with writing(box.engine) as db:
        insert_intents(db, "main", "+14155550100", "b1", intents, box.runtime.settings, utcnow())
        assert release_or_hold_batch(db, "b1", 1, utcnow()).released == 9


@ON_SQLITE
def test_each_trigger_has_its_own_day(box: Outbox) -> None:
    assert go(box, range(4), 5, "b1") == (4, 0)
    assert go(box, range(10, 14), 5, "b2", trigger="birthday") == (4, 0)
    assert go(box, [20, 21], 5, "b3") == (0, 2)


@ON_SQLITE
def test_delayed_texts_count_on_the_day_that_calls_for_them(box: Outbox) -> None:
    delay = timedelta(days=3)
    assert slice_of(box, range(5), 5, "b1", delay=delay).released == 5
    assert slice_of(box, [5], 5, "b2", delay=delay).held == 1


@ON_SQLITE
def test_after_a_day_the_count_begins_again(box: Outbox) -> None:
    assert go(box, range(5), 5, "b1") == (5, 0)
    earlier(box, hours=23.9)
    assert go(box, [5], 5, "b2") == (0, 1)
    earlier(box, hours=24.1)
    assert go(box, range(10, 15), 5, "b3") == (5, 0)


def test_an_approval_restarts_the_count_and_covers_nothing_that_comes_later(box: Outbox) -> None:
    assert go(box, range(20), 10, "b1") == (0, 20)
    assert approve(box.runtime, batch_id="b1", actor="ann") == 20
    assert go(box, range(20, 30), 10, "b2") == (10, 0)
    assert go(box, [30], 10, "b3") == (0, 1)


def test_who_approves_one_text_has_not_approved_the_others(box: Outbox) -> None:
    assert go(box, range(20), 10, "b1") == (0, 20)
    with reading(box.engine) as connection:
        one = connection.execute(message.select().limit(1)).one().id
    assert approve(box.runtime, message_ids=[one], actor="ann") == 1
    assert go(box, [20], 10, "b2") == (0, 1)


def test_texts_of_a_run_that_was_open_during_an_approval_count(box: Outbox) -> None:
    assert go(box, range(20), 10, "b1") == (0, 20)
    intents = [
        TextIntent("welcome", "crm", str(n), None, number(n), "Hi", (), None, None, "created") for n in range(20, 28)
    ]
    with writing(box.engine) as db:
        insert_intents(db, "main", "+14155550100", "open", intents, box.runtime.settings, utcnow())
    assert approve(box.runtime, batch_id="b1", actor="ann") == 20
    with writing(box.engine) as db:
        assert release_or_hold_batch(db, "open", 10, utcnow()).released == 8
    assert go(box, range(30, 33), 10, "b2") == (0, 3)


_stores: list[_Store] = []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    slices=st.lists(st.integers(1, 9), min_size=1, max_size=14),
    limit=st.integers(0, 20),
    approvals=st.sets(st.integers(0, 13), max_size=2),
)
def test_however_an_import_is_sliced(slices: list[int], limit: int, approvals: set[int]) -> None:
    """Between two approvals, at most ``limit`` people are texted whom nobody approved. Nobody is lost."""
    if not _stores:
        _stores.append(_Store())
    _stores[0].empty()
    box = Outbox(FakeRuntime(_stores[0].engine, FakeClient()), FakeClient())
    people, unapproved = 0, 0
    for index, size in enumerate(slices):
        verdict = slice_of(box, range(people, people + size), limit, f"b{index}")
        people += size
        unapproved += verdict.released
        assert unapproved <= limit
        assert verdict.released + verdict.held == size
        if index in approvals and approve(box.runtime, trigger="welcome", actor="ann"):
            unapproved = 0
    waiting = list(box.states().values()).count(MessageState.HELD)
    assert approve(box.runtime, trigger="welcome", actor="ann") == waiting
    assert list(box.states().values()) == [MessageState.QUEUED] * people

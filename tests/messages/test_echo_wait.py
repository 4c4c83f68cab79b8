"""A record whose response was lost waits for its echo before it is repeated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, delete

from tests.inbox.conftest import Inbox, echo
from tests.messages.conftest import FakeClient, FakeRuntime, number
from worker.core.states import InboxState, MessageState
from worker.inbox.events import Incoming, store_events
from worker.messages.claims import expire_leases
from worker.messages.echo_wait import LOOK_AGAIN, MAX_BACKLOG_WAIT, EchoOutlook, repeat_at
from worker.messages.recording import RecordingReport, record_due
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import inbox_event
from worker.virtualtext.outcomes import Cause, MessageBody, Outcome, Receipt, Status

BEGAN = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
WAIT = timedelta(minutes=2)
DONE: Outcome[Receipt] = Outcome(Status.DONE, Receipt())
LOST: Outcome[Receipt] = Outcome(Status.UNKNOWN, cause=Cause.GATEWAY, detail="502")


@pytest.mark.parametrize(
    ("after", "expected", "arrived", "again_after"),
    [
        # (time since the request; records are reported; an event waits in the inbox; when it may be repeated)
        (30, False, False, 30),
        (30, True, False, 120),
        (119, True, True, 120),
        (120, True, False, 120),
        (120, True, True, 120 + LOOK_AGAIN.total_seconds()),
        (30, False, True, 30 + LOOK_AGAIN.total_seconds()),
        (MAX_BACKLOG_WAIT.total_seconds(), True, True, MAX_BACKLOG_WAIT.total_seconds()),
    ],
)
def test_when_a_record_may_be_repeated(after: float, expected: bool, arrived: bool, again_after: float) -> None:
    now = BEGAN + timedelta(seconds=after)
    again = repeat_at(BEGAN, now, WAIT, EchoOutlook(expected, arrived))
    assert again == BEGAN + timedelta(seconds=again_after)


@pytest.fixture
def inbox(engine: Engine) -> Inbox:
    """An account whose records the Relay reports: one was reported a moment ago."""
    client = FakeClient()
    made = Inbox(FakeRuntime(engine, client, relay_secret=SecretStr("a-secret-of-at-least-24-characters")), client)
    made.record("SM-reported", number(9), "reported")
    record_due(made.runtime)
    assert made.comes(echo("reported", "out-9", to=number(9))).done == 1
    with writing(engine) as connection:
        connection.execute(delete(inbox_event))
    client.recorded.clear()
    return made


def lose(inbox: Inbox, *lost: str) -> None:
    """The responses to these texts are lost."""
    inbox.client.answer = lambda body, call: LOST if body.text in lost else DONE


def texts(inbox: Inbox) -> list[str]:
    return [body.text for body in inbox.client.recorded]


def test_an_echo_settles_a_record_and_the_next_one_follows(inbox: Inbox) -> None:
    first, second = inbox.record("SM1", text="one"), inbox.record("SM2", text="two")
    other = inbox.record("SM3", number(1), "other")
    lose(inbox, "one")
    assert record_due(inbox.runtime) == RecordingReport(recorded=1, requeued=1), "other people do not wait"
    assert inbox.state(other) is MessageState.ACCEPTED
    inbox.all_due()
    assert record_due(inbox.runtime) == RecordingReport(requeued=1), "the echo may still come"
    assert inbox.row(first).reason.startswith("echo_wait:")
    inbox.comes(echo("one", "out-1", to=number(0)))
    assert inbox.state(first) is MessageState.CONFIRMED
    assert record_due(inbox.runtime) == RecordingReport(recorded=1)
    assert inbox.state(second) is MessageState.ACCEPTED
    assert texts(inbox) == ["other", "one", "two"] or texts(inbox) == ["one", "other", "two"]


def test_without_an_echo_it_is_repeated_once_the_wait_is_over(inbox: Inbox) -> None:
    record = inbox.record("SM1", text="one")
    lose(inbox, "one")
    record_due(inbox.runtime)
    past(inbox, record, timedelta(minutes=1))
    assert record_due(inbox.runtime) == RecordingReport(requeued=1)
    past(inbox, record, timedelta(minutes=2))
    lose(inbox)
    assert record_due(inbox.runtime) == RecordingReport(recorded=1)


def past(inbox: Inbox, record: str, ago: timedelta) -> None:
    """As if its last request had begun ``ago``."""
    began = utcnow() - ago
    inbox.all_due()
    inbox.change(record, attempted_at=began, unanswered_at=began)


def test_an_echo_that_was_received_is_processed_before_the_record_is_repeated(inbox: Inbox) -> None:
    record = inbox.record("SM1", text="one")
    lose(inbox, "one")
    record_due(inbox.runtime)
    with writing(inbox.engine) as connection:
        payload = orjson.dumps(echo("one", "out-1", to=number(0))).decode()
        store_events(connection, [Incoming("relay", "main", payload, utcnow())])
    past(inbox, record, timedelta(minutes=3))
    assert record_due(inbox.runtime) == RecordingReport(requeued=1)
    inbox.process()
    assert inbox.state(record) is MessageState.CONFIRMED
    assert [event.state for event in inbox.events()] == [InboxState.DONE]
    assert texts(inbox) == ["one"]


def test_a_worker_that_vanished_leaves_a_record_that_waits(inbox: Inbox) -> None:
    record = inbox.record("SM1", text="one")
    lose(inbox)

    def answer(body: MessageBody, call: int) -> Outcome[Receipt]:
        inbox.leases_run_out()
        with writing(inbox.engine) as connection:
            expire_leases(connection, utcnow())
        inbox.client.answer = lambda body, call: DONE
        assert record_due(inbox.runtime) == RecordingReport(requeued=1)
        raise ConnectionError  # this worker's own result comes too late and is unknown

    inbox.client.answer = answer
    record_due(inbox.runtime)
    assert inbox.state(record) is MessageState.QUEUED
    inbox.comes(echo("one", "out-1", to=number(0)))
    assert inbox.state(record) is MessageState.CONFIRMED
    assert record_due(inbox.runtime) == RecordingReport()


def not_reported_lately(inbox: Inbox) -> None:
    inbox.change(echoed_at=utcnow() - timedelta(days=8))


def no_relay(inbox: Inbox) -> None:
    account = inbox.runtime.settings.accounts["main"]
    account.__dict__["relay_secret"] = None


@pytest.mark.parametrize("why", [not_reported_lately, no_relay])
def test_where_no_echo_can_be_expected_it_is_repeated_as_soon_as_it_is_due(inbox: Inbox, why: Any) -> None:
    why(inbox)
    inbox.record("SM1", text="one")
    lose(inbox, "one")
    record_due(inbox.runtime)
    inbox.all_due()
    lose(inbox)
    assert record_due(inbox.runtime) == RecordingReport(recorded=1)


def test_a_record_that_provably_was_not_stored_does_not_wait(inbox: Inbox) -> None:
    inbox.record("SM1", text="one")
    inbox.client.answer = lambda body, call: Outcome(Status.NOT_DONE, cause=Cause.UNREACHABLE)
    record_due(inbox.runtime)
    inbox.all_due()
    lose(inbox)
    assert record_due(inbox.runtime) == RecordingReport(recorded=1)

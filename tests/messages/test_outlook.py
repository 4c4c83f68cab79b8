"""What the answer to a job says about when its text will go: with quiet hours, caps, pauses and expiry."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert, update

from config.models import Policy
from tests.messages.conftest import Outbox, number
from worker.core.states import MessageState
from worker.messages.delivery import deliver_due
from worker.messages.opt_outs import open_review
from worker.messages.read_models import message_details
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import account_state

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

NEW_YORK = ZoneInfo("America/New_York")
ANNA = "+12125550101"


def configure(box: Outbox, **policy: Any) -> None:
    box.runtime.settings = box.runtime.settings.model_copy(update={"policy": Policy(**policy)})


def tonight() -> datetime:
    """The next 1:30 at night in New York that is at least an hour away."""
    at = datetime.combine(utcnow().astimezone(NEW_YORK).date(), time(1, 30), NEW_YORK)
    while at < utcnow() + timedelta(hours=1):
        at += timedelta(days=1)
    return at


def of(box: Outbox, message_id: str) -> datetime | None:
    found = message_details(box.runtime, message_id)
    assert found is not None
    return found.expected_at


def test_a_text_for_the_night_is_said_to_go_in_the_morning(box: Outbox) -> None:
    configure(box)
    at = tonight()
    taken = box.enqueue(ANNA, "see you", send_at=at, expires_at=at + timedelta(days=2))
    assert taken.state is MessageState.QUEUED
    assert taken.expected_at is not None
    goes = taken.expected_at.astimezone(NEW_YORK)
    assert goes.date() == at.date()
    assert (goes.hour, goes.minute < 15) == (12 if at.weekday() == 6 else 9, True)
    assert taken.reason.startswith("scheduled: it is due at ")
    assert "; then it is " in taken.reason
    assert "01:30 in America/New_York (known from the number); texts go from 09:00 to 20:00" in taken.reason
    assert f"so it waits until {taken.expected_at:%Y-%m-%d %H:%M:%S} UTC" in taken.reason
    assert of(box, taken.message_id) == taken.expected_at
    again = box.enqueue(ANNA, "see you", send_at=at, expires_at=at + timedelta(days=2), idempotency_key="k")
    same = box.enqueue(ANNA, "see you", send_at=at, expires_at=at + timedelta(days=2), idempotency_key="k")
    assert (same.duplicate, same.expected_at) == (True, again.expected_at)


def test_an_urgent_one_goes_at_night(box: Outbox) -> None:
    configure(box)
    taken = box.enqueue(ANNA, "your code", send_at=tonight(), urgent=True)
    assert taken.expected_at == tonight()
    assert "then" not in taken.reason


def test_one_that_expires_before_the_morning_is_said_not_to_go(box: Outbox) -> None:
    configure(box)
    at = tonight()
    taken = box.enqueue(ANNA, "see you", send_at=at, expires_at=at + timedelta(hours=2))
    assert (taken.state, taken.expected_at) == (MessageState.QUEUED, None)
    assert "by then it will have expired" in taken.reason


def test_one_that_is_due_goes_now(box: Outbox) -> None:
    before = utcnow()
    taken = box.enqueue()
    assert taken.expected_at is not None
    assert before <= taken.expected_at <= utcnow()
    deliver_due(box.runtime)
    assert of(box, taken.message_id) is None, "it has gone"


def test_a_full_cap_is_waited_for(box: Outbox) -> None:
    configure(box, quiet_hours="none", max_per_contact=1)
    first = box.send()
    deliver_due(box.runtime)
    attempted = box.row(first).attempted_at
    assert attempted is not None
    taken = box.enqueue(text="another", expires_at=utcnow() + timedelta(days=3))
    assert taken.expected_at == attempted + timedelta(hours=24)
    later = box.enqueue(text="a third", send_at=utcnow() + timedelta(hours=1), expires_at=utcnow() + timedelta(days=3))
    assert later.expected_at == attempted + timedelta(hours=24)
    assert "had 1 texts within 24 hours, all that policy.max_per_contact allows" in later.reason


def test_what_waits_for_somebody_has_no_time(box: Outbox) -> None:
    with writing(box.engine) as connection:
        open_review(connection, number(0), excerpt="leave me alone", inbound_id=None, since=utcnow())
    taken = box.enqueue()
    assert (taken.state, taken.expected_at) == (MessageState.HELD, None)
    assert taken.reason.startswith("review: ")


def test_an_account_that_is_stopped_or_pauses_sends_later_or_never(box: Outbox) -> None:
    now = utcnow()
    state = {"account": "main", "paused_until": now + timedelta(hours=1), "pause_reason": "429"}
    with writing(box.engine) as connection:
        connection.execute(insert(account_state).values(state))
    taken = box.enqueue()
    assert taken.expected_at == now + timedelta(hours=1)
    with writing(box.engine) as connection:
        connection.execute(update(account_state).values(stopped_at=now, stopped_reason="401"))
    assert of(box, taken.message_id) is None


def test_a_record_has_no_time(box: Outbox) -> None:
    assert of(box, box.record("SM1")) is None

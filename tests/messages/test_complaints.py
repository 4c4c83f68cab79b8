"""What people complain of in other systems that text, each as a story. Those that are not here have tests where they
belong: two workers and one text (test_claims), an import (test_engine), 3 a.m. (test_policy_table).
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from tests.messages.conftest import PAST, Outbox, number
from worker.core.states import MessageState
from worker.messages.decisions import retry
from worker.messages.delivery import DeliveryReport, deliver_due
from worker.store.models import utcnow
from worker.virtualtext.outcomes import Cause, Outcome, Receipt, Status

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def test_after_a_restart_200_stale_texts_are_not_sent_and_each_is_accounted_for(box: Outbox) -> None:
    stale = [box.send(number(index), "see you tomorrow") for index in range(200)]
    box.change(due_at=PAST, expires_at=utcnow() - timedelta(hours=1))
    fresh = [box.send(number(index), "your order is ready") for index in range(3)]
    assert deliver_due(box.runtime) == DeliveryReport(accepted=3, expired=200)
    assert sorted(body.text for body in box.client.sent) == ["your order is ready"] * 3
    assert Counter(box.states().values()) == {MessageState.EXPIRED: len(stale), MessageState.ACCEPTED: len(fresh)}
    assert box.row(stale[0]).reason == "expired: it could not be sent before it expired"


def test_one_number_that_opted_out_stops_nobody_else(box: Outbox) -> None:
    refused: Any = Outcome(Status.NOT_DONE, cause=Cause.OPTED_OUT, detail="opted out", http_status=451)
    box.client.answer = lambda body, _: refused if body.to == number(7) else Outcome(Status.DONE, Receipt())
    ids = [box.send(number(index)) for index in range(20)]
    assert deliver_due(box.runtime) == DeliveryReport(accepted=19, suppressed=1)
    assert box.state(ids[7]) is MessageState.SUPPRESSED
    account = box.account()
    assert account is None or not account.stopped_reason


def test_a_time_out_and_then_trying_again_in_every_way_texts_once(box: Outbox) -> None:
    """The text went out, its answer was lost; then the caller, an operator and the schedule all try again."""
    box.client.answer = lambda body, _: Outcome(Status.UNKNOWN, cause=Cause.TIMEOUT, detail="no answer")
    first = box.enqueue(idempotency_key="order-1")
    assert deliver_due(box.runtime) == DeliveryReport(unknown=1)
    box.client.answer = lambda body, _: Outcome(Status.DONE, Receipt())
    again = box.enqueue(idempotency_key="order-1")
    assert (again.message_id, again.state, again.duplicate) == (first.message_id, MessageState.UNKNOWN, True)
    assert retry(box.runtime, [first.message_id], "ann") == 0
    box.all_due()
    assert deliver_due(box.runtime) == DeliveryReport()
    assert len(box.client.sent) == 1

"""The one loop behind sending and recording: neither can do the other's work, and one order holds for each request."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tests.messages.conftest import Outbox, number
from worker.core.states import MessageKind, MessageState
from worker.messages import attempts, claims, delivery, recording
from worker.messages.delivery import DeliveryReport, SendStrategy, deliver_due
from worker.messages.recording import RecordingReport, RecordStrategy, record_due
from worker.virtualtext.outcomes import MessageBody, Outcome, Receipt, Status

ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def claiming(kind: MessageKind) -> Any:
    """A claim that is made for the wrong kind of message."""
    claim = claims.claim_sends if kind is MessageKind.SEND else claims.claim_records

    def wrong(self: Any, connection: Any, now: Any, seconds: float, limit: int) -> Any:
        return claim(connection, now, seconds, limit, account=self.account)

    return wrong


@ON_SQLITE
def test_a_claim_of_the_wrong_kind_makes_no_request(box: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    send, record = box.send(), box.record("SM1", number(1))
    monkeypatch.setattr(SendStrategy, "claim", claiming(MessageKind.RECORD))
    monkeypatch.setattr(RecordStrategy, "claim", claiming(MessageKind.SEND))
    assert (deliver_due(box.runtime), record_due(box.runtime)) == (DeliveryReport(), RecordingReport())
    assert (box.client.sent, box.client.recorded) == ([], [])
    assert [(box.state(one), box.row(one).lease_owner) for one in (send, record)] == [(MessageState.QUEUED, None)] * 2


@pytest.mark.parametrize(("module", "foreign"), [(recording, "send_message"), (delivery, "record_message")])
def test_neither_module_names_the_others_call(module: Any, foreign: str) -> None:
    assert foreign not in inspect.getsource(module)
    for shared in (attempts, claims):
        assert foreign not in inspect.getsource(shared)


@ON_SQLITE
def test_what_vanished_workers_left_is_recorded_in_the_same_call(box: Outbox) -> None:
    record = box.record("SM1")
    box.change(record, state=MessageState.DISPATCHING, attempts=1)
    assert record_due(box.runtime) == RecordingReport(recorded=1)
    assert box.steps(record)[1:3] == [("dispatching", "queued"), ("queued", "dispatching")]


@ON_SQLITE
def test_the_limit_counts_requests_over_all_accounts(box: Outbox) -> None:
    accounts = box.runtime.settings.accounts
    both = {"accounts": {**accounts, "other": accounts["main"]}}
    box.runtime.settings = box.runtime.settings.model_copy(update=both)
    sends = [box.send(number(i)) for i in range(6)]
    for one in sends[3:]:
        box.change(one, account="other")
    assert deliver_due(box.runtime, limit=4).accepted == 4
    assert sorted(box.row(one).account for one in sends if box.state(one) is MessageState.QUEUED) == ["other"] * 2


@ON_SQLITE
def test_a_request_that_lost_its_claim_is_not_made(box: Outbox) -> None:
    first, second = box.send(text="one"), box.send(text="two")

    def answer(body: MessageBody, call: int) -> Outcome[Receipt]:
        box.change(second, lease_owner="another")
        return Outcome(Status.DONE, Receipt())

    box.client.answer = answer
    assert deliver_due(box.runtime) == DeliveryReport(accepted=1)
    assert (box.state(first), box.state(second)) == (MessageState.ACCEPTED, MessageState.QUEUED)

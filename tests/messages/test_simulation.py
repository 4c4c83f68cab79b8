"""Test mode and test keys: the policy decides as ever, nothing leaves, and nothing real is affected."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from config.models import Account, Connection, Settings
from config.triggers import DateTrigger
from tests.messages.conftest import AT_ANY_HOUR, PAST, Outbox, number
from worker.core.states import MessageState
from worker.messages.decisions import resolve
from worker.messages.delivery import deliver_due
from worker.messages.intents import insert_planned
from worker.messages.opt_outs import add_opt_out
from worker.messages.outbox import Enqueued, enqueue_record, enqueue_send
from worker.messages.policy_facts import load_facts
from worker.messages.recording import record_due
from worker.messages.requests import RecordRequest, SendRequest
from worker.messages.simulation import why_simulated
from worker.policy.decide import Hold, QuietHours
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import message, public_event
from worker.triggers.evaluate import TextIntent
from worker.triggers.rules import compile_rules
from worker.virtualtext.outcomes import Cause, Outcome, Status

ME, SOMEBODY = number(0), number(1)
S = MessageState


def with_test_key(box: Outbox, to: str = SOMEBODY, text: str = "hello", **more: Any) -> Enqueued:
    request = SendRequest.parse({"account": "main", "to": to, "message": text} | more)
    return enqueue_send(box.runtime, request, source="http", actor="key", test=True)


def policy(box: Outbox, **changes: Any) -> None:
    settings = box.runtime.settings
    changed = settings.policy.model_copy(update=changes)
    box.runtime = box.runtime.but(settings=settings.model_copy(update={"policy": changed}))


def events(box: Outbox) -> list[tuple[str, bool]]:
    with reading(box.engine) as db:
        rows = db.execute(select(public_event).order_by(public_event.c.id)).all()
    return sorted((row.type, orjson.loads(row.payload)["test"]) for row in rows)


@pytest.mark.parametrize(
    ("only", "test", "goes"),
    [
        (None, False, True),
        (None, True, False),
        (frozenset(), False, False),
        (frozenset({ME}), False, True),
        (frozenset({ME}), True, False),
        (frozenset({SOMEBODY}), False, False),
    ],
)
def test_what_may_leave(only: frozenset[str] | None, test: bool, goes: bool) -> None:
    assert (why_simulated(ME, only, test=test) == "") is goes


def test_in_test_mode_only_the_listed_numbers_are_texted(box: Outbox) -> None:
    box.switch("test", ME)
    mine, other, record, my_record = box.send(ME), box.send(SOMEBODY), box.record("1", SOMEBODY), box.record("2", ME)
    report, records = deliver_due(box.runtime), record_due(box.runtime)
    assert (report.accepted, report.simulated, records.recorded, records.simulated) == (1, 1, 1, 1)
    assert [one.to for one in (*box.client.sent, *box.client.recorded)] == [ME, ME]
    assert [box.state(one) for one in (mine, other, record, my_record)] == [
        S.ACCEPTED,
        S.SIMULATED,
        S.SIMULATED,
        S.ACCEPTED,
    ]
    row = box.row(other)
    assert row.reason.startswith("test: it would have gone at ")
    assert "the account is in test mode" in row.reason
    assert (row.attempts, box.steps(other)) == (0, [(None, "queued"), ("queued", "simulated")])
    assert events(box) == sorted(
        [("message.recorded", False), ("message.sent", False), ("message.simulated", True), ("message.simulated", True)]
    )


def test_what_was_simulated_is_not_sent_when_the_account_goes_live(box: Outbox) -> None:
    box.switch("test")
    first = box.enqueue(SOMEBODY, idempotency_key="order 17")
    deliver_due(box.runtime)
    box.switch("live")
    again = box.enqueue(SOMEBODY, idempotency_key="order 17")
    box.all_due()
    deliver_due(box.runtime)
    assert (again.message_id, again.state, again.duplicate) == (first.message_id, S.SIMULATED, True)
    assert (first.test, again.test, box.client.sent) == (True, False, [])


def test_what_is_queued_goes_by_the_mode_in_which_its_request_would_begin(box: Outbox) -> None:
    live_then_test = box.send(SOMEBODY, "a")
    box.switch("test")
    deliver_due(box.runtime)
    test_then_live = box.send(SOMEBODY, "b")
    box.switch("live")
    deliver_due(box.runtime)
    assert (box.state(live_then_test), box.state(test_then_live)) == (S.SIMULATED, S.ACCEPTED)


def test_a_switch_to_test_mode_counts_for_work_that_has_begun(box: Outbox) -> None:
    box.send(SOMEBODY)
    begun = box.runtime
    box.switch("test")
    assert (deliver_due(begun).simulated, box.client.sent) == (1, [])
    box.send(SOMEBODY)
    box.switch("live")
    assert deliver_due(begun).accepted == 1


def test_a_text_whose_first_attempt_may_have_gone_out_does_not_count_as_simulated(box: Outbox) -> None:
    box.client.answer = lambda _, __: Outcome(Status.UNKNOWN, cause=Cause.TIMEOUT)
    text, record = box.send(SOMEBODY), box.record("1", SOMEBODY)
    deliver_due(box.runtime), record_due(box.runtime)
    resolve(box.runtime, text, "resend", "ann")
    box.switch("test")
    box.all_due()
    deliver_due(box.runtime), record_due(box.runtime)
    assert (box.state(text), box.state(record)) == (S.UNKNOWN, S.UNKNOWN)
    assert "may have been carried out" in box.row(text).reason
    assert (len(box.client.sent), len(box.client.recorded)) == (1, 1)


def test_the_clients_refusal_ends_a_text_too(box: Outbox) -> None:
    box.client.answer = lambda _, __: Outcome(Status.NOT_DONE, cause=Cause.TEST_MODE, detail="in test mode")
    text, record = box.send(SOMEBODY), box.record("1", SOMEBODY)
    deliver_due(box.runtime), record_due(box.runtime)
    assert (box.state(text), box.state(record)) == (S.SIMULATED, S.SIMULATED)


@pytest.mark.parametrize("how", ["test mode", "test key"])
def test_the_policy_decides_as_it_would(box: Outbox, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "test mode":
        box.switch("test")
    policy(box, max_per_contact=2, duplicate_window=timedelta(hours=1))
    with writing(box.engine) as db:
        add_opt_out(db, number(5), source="relay", detail="STOP", now=utcnow())

    def send(to: str, text: str, too_late: bool = False, **more: Any) -> str:
        made = with_test_key(box, to, text, **more) if how == "test key" else box.enqueue(to, text, **more)
        assert made.test
        if too_late:
            box.change(made.message_id, expires_at=PAST)
        deliver_due(box.runtime)
        return f"{box.state(made.message_id)} {box.row(made.message_id).reason.partition(':')[0]}"

    assert send(number(5), "a") == "suppressed opted_out"
    assert send(SOMEBODY, "a") == "simulated test"
    assert send(SOMEBODY, "a") == "suppressed duplicate"
    assert send(SOMEBODY, "b") == "simulated test"
    assert send(SOMEBODY, "c") == "queued cap"
    assert send(number(2), "d", send_at=utcnow() + timedelta(days=1)) == "queued scheduled"
    assert send(number(2), "d", too_late=True) == "expired expired"
    night = "worker.policy.decide._wait_for_hours"

    def asleep(facts: Any, quiet: QuietHours, now: datetime) -> Hold:
        return Hold(now + timedelta(hours=5), "quiet_hours", "it is night")

    policy(box, quiet_hours="us")
    monkeypatch.setattr(night, asleep)
    assert send(number(3), "e") == "queued quiet_hours"
    assert box.client.sent == []


@pytest.mark.parametrize("how", ["test mode", "test key"])
def test_nothing_simulated_delays_or_ends_a_real_text(box: Outbox, how: str) -> None:
    policy(box, max_per_contact=1, max_per_account=1, duplicate_window=timedelta(hours=1))
    if how == "test key":
        with_test_key(box, SOMEBODY, "hello", idempotency_key="k")
    else:
        box.switch("test")
        box.send(SOMEBODY, "hello")
    deliver_due(box.runtime)
    box.switch("live")
    real = box.enqueue(SOMEBODY, "hello", **({"idempotency_key": "k"} if how == "test key" else {}))
    assert deliver_due(box.runtime).accepted == 1
    assert not real.duplicate
    assert not real.test


def test_a_test_that_waits_for_the_morning_does_not_hold_back_a_real_text(box: Outbox) -> None:
    waiting = with_test_key(box, SOMEBODY, "test").message_id
    now = utcnow()
    box.change(waiting, reason="quiet_hours: it is night", due_at=now + timedelta(hours=8))
    real, test = box.send(SOMEBODY, "real"), with_test_key(box, SOMEBODY, "another test").message_id
    with reading(box.engine) as db:
        behind = [load_facts(db, box.row(one)._asdict(), box.runtime.settings, now).behind for one in (real, test)]
    assert behind == [None, now + timedelta(hours=8)]


def test_a_recorded_test_leaves_the_carriers_id_to_the_real_record(box: Outbox) -> None:
    values = {"account": "main", "to": SOMEBODY, "message": "x", "carrier": "twilio", "carrier_message_id": "SM1"}
    for test in (True, False):
        made = enqueue_record(box.runtime, RecordRequest.parse(values), source="http", actor="key", test=test)
        assert not made.duplicate
    report = record_due(box.runtime)
    assert (report.simulated, report.recorded) == (1, 1)


def test_a_test_account_does_not_hold_back_the_texts_of_a_live_one(box: Outbox) -> None:
    """One date trigger watches both. What was simulated while all were in test mode counts only for who still is."""

    def with_modes(main: str, other: str) -> Settings:
        accounts = {
            name: Account(uid="u", token="t", from_number=sender, mode=mode, test_numbers=())
            for name, sender, mode in (("main", number(8), main), ("other", number(9), other))
        }
        connections = {
            name: Connection(adapter="csv", account=account, options={"path": "x"})
            for name, account in (("crm", "main"), ("shop", "other"))
        }
        triggers = {"t": DateTrigger(connections=("crm", "shop"), on="date", field="day", message="Hi", again="never")}
        return Settings(accounts=accounts, connections=connections, triggers=triggers, policy=AT_ANY_HOUR)

    def plans(settings: Settings, occurrence: str) -> int:
        (rule,) = compile_rules(settings)["crm"]
        intents = [
            TextIntent("t", name, "1", None, to, "Hi", (), None, None, occurrence)
            for name, to in (("crm", number(1)), ("shop", number(2)))
        ]
        with writing(box.engine) as db:
            return insert_planned(db, settings, rule, intents, utcnow())

    both = with_modes("test", "test")
    assert plans(both, "2026-01-01") == 2
    box.change(state=S.SIMULATED)
    assert plans(both, "2026-01-02") == 0
    assert plans(with_modes("live", "test"), "2026-01-02") == 1
    with reading(box.engine) as db:
        (live,) = db.execute(select(message).where(message.c.state != S.SIMULATED)).all()
    assert (live.account, live.to_number) == ("main", number(1))

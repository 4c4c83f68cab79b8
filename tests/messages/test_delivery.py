"""Sending what is due: every outcome ends where it should, and no text goes out twice or against the policy."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.messages.conftest import PAST, FakeRuntime, Outbox, crm_record_of, number
from worker.core.backoff import Backoff
from worker.core.states import MessageState
from worker.limits.account_gate import may_call, stop_account
from worker.messages import attempts, dispatch
from worker.messages.claims import expire_leases
from worker.messages.decisions import cancel, resolve
from worker.messages.delivery import DeliveryReport, deliver_due
from worker.messages.opt_outs import add_opt_out, opted_out
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import account_state, contact, contact_mapping, message
from worker.virtualtext.outcomes import Cause, MessageBody, Outcome, Receipt, Status

DONE: Outcome[Receipt] = Outcome(Status.DONE, Receipt("m1"))
LOST: Outcome[Receipt] = Outcome(Status.UNKNOWN, cause=Cause.TIMEOUT, detail="no answer in 40 s")


def not_done(cause: Cause, **more: Any) -> Outcome[Receipt]:
    return Outcome(Status.NOT_DONE, cause=cause, detail="no", **more)


def answer_always(box: Outbox, outcome: Outcome[Receipt]) -> None:
    box.client.answer = lambda body, call: outcome


def test_what_is_due_is_sent_once(box: Outbox) -> None:
    answer_always(box, DONE)
    sends = [box.send(number(i), f"text {i}", media=("https://a.example/b.png",)) for i in range(10)]
    assert deliver_due(box.runtime) == DeliveryReport(accepted=10)
    assert deliver_due(box.runtime) == DeliveryReport()
    assert sorted(body.to for body in box.client.sent) == [number(i) for i in range(10)]
    assert box.client.sent[0].media == ("https://a.example/b.png",)
    assert box.client.recorded == []
    assert box.client.most_in_flight <= 4  # the account's concurrency
    row = box.row(sends[0])
    assert (row.virtualtext_message_id, row.attempts, row.lease_owner) == ("m1", 1, None)
    assert box.steps(sends[0]) == [(None, "queued"), ("queued", "dispatching"), ("dispatching", "accepted")]


def test_records_are_none_of_its_business(box: Outbox) -> None:
    record = box.record("SM1")
    assert deliver_due(box.runtime) == DeliveryReport()
    assert box.state(record) is MessageState.QUEUED


def test_the_request_is_committed_before_it_is_made(box: Outbox) -> None:
    send = box.send()
    seen = []

    def answer(body: MessageBody, call: int) -> Outcome[Receipt]:
        row = box.row(send)  # another connection: sees only what is committed
        seen.append((row.state, row.attempts, row.body_hash == attempts.body_hash(body), row.attempted_at is not None))
        return DONE

    box.client.answer = answer
    deliver_due(box.runtime)
    assert seen == [("dispatching", 1, True, True)]


def test_named_messages_and_limits(box: Outbox) -> None:
    sends = [box.send(number(i)) for i in range(5)]
    assert deliver_due(box.runtime, message_ids=[sends[3]]).accepted == 1
    assert box.state(sends[3]) is MessageState.ACCEPTED
    assert deliver_due(box.runtime, limit=2).accepted == 2
    assert deliver_due(box.runtime, account="main", limit=0) == DeliveryReport()


def test_a_conversation_gets_its_texts_in_order(box: Outbox) -> None:
    for i in range(12):
        box.send(number(i % 2), str(i))
    deliver_due(box.runtime)
    for person in range(2):
        texts = [int(body.text) for body in box.client.sent if body.to == number(person)]
        assert texts == sorted(texts)


def test_a_lost_answer_is_unknown_and_stays_so(box: Outbox) -> None:
    answer_always(box, LOST)
    send = box.send()
    assert deliver_due(box.runtime).unknown == 1
    box.all_due()
    assert deliver_due(box.runtime) == DeliveryReport()
    assert len(box.client.sent) == 1
    assert "no answer in 40 s" in box.row(send).reason


def test_an_error_of_our_own_during_the_request_is_unknown(box: Outbox) -> None:
    def answer(body: MessageBody, call: int) -> Outcome[Receipt]:
        raise RuntimeError("a defect")

    box.client.answer = answer
    send = box.send()
    assert deliver_due(box.runtime).unknown == 1
    assert "RuntimeError" in box.row(send).reason
    assert "a defect" not in box.row(send).reason  # it might hold what must not be shown


def test_a_refused_text_keeps_the_platforms_words(box: Outbox) -> None:
    answer_always(box, not_done(Cause.REJECTED, reference_code="ref-9", http_status=400))
    send = box.send()
    assert deliver_due(box.runtime).rejected == 1
    assert box.row(send).reference_code == "ref-9"
    assert box.row(send).reason.startswith("rejected: ")


def test_opted_out_at_the_platform_is_opted_out_here(box: Outbox) -> None:
    answer_always(box, not_done(Cause.OPTED_OUT))
    first, second = box.send(text="one"), box.send(text="two")
    assert deliver_due(box.runtime) == DeliveryReport(suppressed=2)
    assert box.client._calls == 1  # the second was suppressed before any request
    assert "opted out" in box.row(second).reason
    with writing(box.engine) as connection:
        assert opted_out(connection, [number(0)])[number(0)].source == "virtualtext"
    assert box.state(first) is MessageState.SUPPRESSED


def test_unreachable_backs_off_and_is_tried_again(box: Outbox) -> None:
    answer_always(box, not_done(Cause.UNREACHABLE))
    send = box.send()
    assert deliver_due(box.runtime).requeued == 1
    assert box.row(send).due_at > utcnow() + timedelta(seconds=10)
    answer_always(box, DONE)
    paused = deliver_due(box.runtime)
    assert (paused.accepted, "could not be reached" in paused.waiting[0][1]) == (0, True)
    box.all_due()
    assert deliver_due(box.runtime).accepted == 1
    assert box.row(send).attempts == 2


@pytest.mark.parametrize("cause", [Cause.CREDENTIALS, Cause.REDIRECTED])
def test_a_wrong_credential_stops_the_account_not_the_texts(box: Outbox, cause: Cause) -> None:
    answer_always(box, not_done(cause))
    sends = [box.send(number(i)) for i in range(40)]
    report = deliver_due(box.runtime)
    assert 1 <= box.client._calls <= 4  # those in flight when the first answer came
    assert report.waiting[0][0] == "main"
    assert set(box.states().values()) == {MessageState.QUEUED}
    assert all(box.row(one).lease_owner is None for one in sends)
    state = box.account()
    assert state is not None
    assert state.stopped_at is not None
    assert state.paused_until > utcnow() + timedelta(minutes=9)
    calls = box.client._calls
    assert deliver_due(box.runtime).waiting
    assert box.client._calls == calls


def test_a_stopped_account_is_probed_with_one_text(box: Outbox) -> None:
    for i in range(20):
        box.send(number(i))
    with writing(box.engine) as connection:
        stop_account(connection, "main", "the credential is wrong", utcnow())
    box.all_due()
    answer_always(box, not_done(Cause.CREDENTIALS))
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: deliver_due(box.runtime), range(3)))
    assert box.client._calls == 1
    box.all_due()
    answer_always(box, DONE)
    assert deliver_due(box.runtime).accepted == 20
    state = box.account()
    assert state is not None
    assert state.stopped_at is None


def test_an_unproved_probe_leaves_the_account_stopped(box: Outbox) -> None:
    box.send(number(1))
    box.send(number(2))
    with writing(box.engine) as connection:
        stop_account(connection, "main", "the credential is wrong", utcnow())
    box.all_due()
    answer_always(box, LOST)
    assert deliver_due(box.runtime).unknown == 1
    assert box.client._calls == 1
    state = box.account()
    assert state is not None
    assert state.stopped_at is not None


def test_a_rate_limit_pauses_the_account(box: Outbox) -> None:
    answer_always(box, not_done(Cause.RATE_LIMITED, retry_after=120.0))
    for i in range(40):
        box.send(number(i))
    report = deliver_due(box.runtime)
    assert report.requeued <= 4
    assert report.waiting
    state = box.account()
    assert state is not None
    assert state.stopped_at is None
    assert state.paused_until > utcnow() + timedelta(seconds=100)
    box.all_due()
    answer_always(box, DONE)
    assert deliver_due(box.runtime).accepted == 40


def crm_record(box: Outbox, phone: str, **mapping: Any) -> None:
    crm_record_of(box.engine, "crm", "1", phone, **mapping)


@pytest.mark.parametrize(
    ("what", "state", "code"),
    [
        ("nothing", MessageState.ACCEPTED, ""),
        ("opted out", MessageState.SUPPRESSED, "opted_out"),
        ("expired", MessageState.EXPIRED, "expired"),
        ("phone changed", MessageState.SUPPRESSED, "phone_changed"),
        ("no phone", MessageState.SUPPRESSED, "phone_changed"),
        ("record deleted", MessageState.SUPPRESSED, "record_deleted"),
        ("record forgotten", MessageState.SUPPRESSED, "record_deleted"),
        ("cancelled", MessageState.CANCELLED, "cancelled"),
    ],
)
def test_the_policy_is_asked_again_right_before_the_request(
    box: Outbox, monkeypatch: pytest.MonkeyPatch, what: str, state: MessageState, code: str
) -> None:
    """What happens after the claim, while the text waits for a free connection, still counts."""
    send = box.send()
    crm_record(box, number(0))
    box.change(send, connection="crm", external_id="1")

    def happens(*args: Any) -> Any:
        with writing(box.engine) as connection:
            match what:
                case "opted out":
                    add_opt_out(connection, number(0), source="relay", detail="STOP", now=utcnow())
                case "expired":
                    connection.execute(update(message).values(expires_at=utcnow()))
                case "phone changed":
                    connection.execute(update(contact).values(phone=number(9)))
                case "no phone":
                    connection.execute(update(contact_mapping).values(contact_id=None))
                case "record deleted":
                    connection.execute(update(contact_mapping).values(deleted_at=utcnow()))
                case "record forgotten":
                    connection.execute(contact_mapping.delete())
        if what == "cancelled":
            cancel(box.runtime, message_ids=[send], actor="ann")
        return work_through(*args)

    work_through = dispatch._ClaimedBatch.work_through
    monkeypatch.setattr(dispatch._ClaimedBatch, "work_through", happens)
    deliver_due(box.runtime)
    assert box.state(send) is state
    assert box.row(send).reason.split(":")[0] == code
    assert len(box.client.sent) == (1 if state is MessageState.ACCEPTED else 0)


def test_expired_texts_are_ended_before_anything_is_sent(box: Outbox) -> None:
    sends = [box.send(number(i)) for i in range(3)]
    box.change(sends[1], expires_at=PAST)
    assert deliver_due(box.runtime) == DeliveryReport(accepted=2, expired=1)


def test_nothing_starts_that_could_outlive_its_lease(box: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeRuntime, "lease_seconds", lambda self, account: 47.0)  # requests take up to 45, margin 5
    send = box.send()
    assert deliver_due(box.runtime) == DeliveryReport()
    assert box.client._calls == 0
    assert box.row(send).lease_owner is None  # given back at once


def test_a_stop_is_honoured_between_messages(box: Outbox) -> None:
    def answer(body: MessageBody, call: int) -> Outcome[Receipt]:
        box.runtime.stop.set()
        return DONE

    box.client.answer = answer
    for i in range(30):
        box.send(number(i))
    report = deliver_due(box.runtime)
    assert 1 <= report.accepted <= 4
    waiting = [one for one, state in box.states().items() if state is MessageState.QUEUED]
    assert len(waiting) == 30 - report.accepted
    assert all(box.row(one).lease_owner is None for one in waiting)


def meanwhile(box: Outbox, outcome: Outcome[Receipt], happens: Any) -> None:
    """The worker is taken for dead during its request, ``happens``, then its answer comes after all."""

    def answer(body: MessageBody, call: int) -> Outcome[Receipt]:
        if call > 1:
            return DONE
        box.leases_run_out()
        with writing(box.engine) as connection:
            expire_leases(connection, utcnow())
        happens()
        return outcome

    box.client.answer = answer


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (DONE, MessageState.ACCEPTED),
        (not_done(Cause.REJECTED), MessageState.REJECTED),
        (not_done(Cause.UNREACHABLE), MessageState.QUEUED),
        (LOST, MessageState.UNKNOWN),
    ],
)
def test_a_late_truth_beats_unknown(box: Outbox, outcome: Outcome[Receipt], state: MessageState) -> None:
    send = box.send()
    meanwhile(box, outcome, lambda: None)
    deliver_due(box.runtime)
    assert box.state(send) is state
    assert ("dispatching", "unknown") in box.steps(send)


def test_a_late_success_ends_a_resend_that_has_not_begun(box: Outbox) -> None:
    send = box.send()
    meanwhile(box, DONE, lambda: resolve(box.runtime, send, "resend", "ann"))
    deliver_due(box.runtime)
    assert box.state(send) is MessageState.ACCEPTED
    assert len(box.client.sent) == 1


def test_a_late_failure_does_not_touch_what_a_person_decided(box: Outbox) -> None:
    send = box.send()
    meanwhile(box, not_done(Cause.REJECTED), lambda: resolve(box.runtime, send, "sent", "ann"))
    deliver_due(box.runtime)
    assert box.state(send) is MessageState.CONFIRMED


def test_a_late_answer_never_settles_another_attempt(box: Outbox) -> None:
    send = box.send()

    def second_attempt() -> None:
        resolve(box.runtime, send, "resend", "ann")
        box.change(send, attempts=2, state="unknown")  # it began, and its answer was lost too

    meanwhile(box, DONE, second_attempt)
    deliver_due(box.runtime)
    assert box.state(send) is MessageState.UNKNOWN


def test_a_busy_store_does_not_lose_a_result(box: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    monkeypatch.setattr(attempts, "WRITE_BACKOFF", Backoff(0, 0))
    tries = []
    finish = attempts.finish_attempt

    def busy(*args: Any, **more: Any) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise OperationalError("UPDATE", {}, Exception("database is locked"))
        finish(*args, **more)

    monkeypatch.setattr(attempts, "finish_attempt", busy)
    send = box.send()
    assert deliver_due(box.runtime).accepted == 1
    assert box.state(send) is MessageState.ACCEPTED


def test_two_deliveries_at_once_send_each_text_once(box: Outbox) -> None:
    for i in range(60):
        box.send(number(i))
    together = threading.Barrier(2)

    def run() -> DeliveryReport:
        together.wait()
        return deliver_due(box.runtime)

    with ThreadPoolExecutor(2) as pool:
        reports = [future.result() for future in [pool.submit(run), pool.submit(run)]]
    assert sum(report.accepted for report in reports) == 60
    assert len({body.to for body in box.client.sent}) == len(box.client.sent) == 60


def test_no_connection_is_held_during_a_request(box: Outbox) -> None:
    checked_out = []

    def answer(body: MessageBody, call: int) -> Outcome[Receipt]:
        checked_out.append(box.engine.pool.checkedout())  # type: ignore[attr-defined]
        return DONE

    box.client.answer = answer
    box.send()
    deliver_due(box.runtime)
    assert checked_out == [0]


def test_what_is_logged_is_masked(box: Outbox, capsys: pytest.CaptureFixture[str]) -> None:
    box.send(text="a private text")
    deliver_due(box.runtime)
    logged = "".join(capsys.readouterr())
    assert "message attempted" in logged
    assert number(0) not in logged
    assert "a private text" not in logged


def test_stops_of_one_account_leave_others_alone(box: Outbox) -> None:
    with writing(box.engine) as connection:
        stop_account(connection, "other", "wrong", utcnow())
        assert connection.execute(select(account_state.c.account)).scalars().all() == ["other"]
    box.send()
    assert deliver_due(box.runtime).accepted == 1


GATEWAY: Outcome[Receipt] = Outcome(Status.UNKNOWN, cause=Cause.GATEWAY, detail="HTTP 502, an HTML page")


def test_a_failing_platform_is_left_alone_and_then_tried_with_one_text(box: Outbox) -> None:
    answer_always(box, GATEWAY)
    for i in range(40):
        box.send(number(i))
    report = deliver_due(box.runtime)
    assert 5 <= report.unknown <= 12, "those on their way when the fifth failed, and no more"
    assert "fails repeatedly" in report.waiting[0][1]
    assert deliver_due(box.runtime).unknown == 0
    box.all_due()
    assert deliver_due(box.runtime).unknown == 1, "one text tries whether it works again"
    box.all_due()
    answer_always(box, DONE)
    left = 40 - report.unknown - 1
    assert deliver_due(box.runtime).accepted == left


def test_failures_among_many_successes_stop_nothing(box: Outbox) -> None:
    box.client.answer = lambda body, call: GATEWAY if call % 4 == 0 else DONE
    for i in range(40):
        box.send(number(i))
    report = deliver_due(box.runtime)
    assert (report.accepted, report.unknown, report.waiting) == (30, 10, ())


def test_a_429_slows_the_whole_fleet_down_for_a_while(box: Outbox) -> None:
    answer_always(box, not_done(Cause.RATE_LIMITED, retry_after=0.0))
    box.send()
    deliver_due(box.runtime, limit=1)
    with reading(box.engine) as connection:
        assert may_call(connection, "main", utcnow()).ceiling == pytest.approx(1.0, abs=0.2)
        assert may_call(connection, "main", utcnow() + timedelta(minutes=30)).ceiling is None


def test_texts_per_second_are_kept(box: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    account = box.runtime.settings.accounts["main"].model_copy(update={"texts_per_second": 3.0})
    settings = box.runtime.settings.model_copy(update={"accounts": {"main": account}})
    monkeypatch.setattr(box.runtime, "settings", settings)
    monkeypatch.setattr("worker.limits.limiter.PATIENCE_SECONDS", 0.0)
    for i in range(8):
        box.send(number(i))
    report = deliver_due(box.runtime)
    assert report.accepted == 1, "the next one's turn is a third of a second later"
    assert "as its limits allow" in report.waiting[0][1]


def test_a_look_that_finds_nothing_uses_up_nothing(box: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    account = box.runtime.settings.accounts["main"].model_copy(update={"texts_per_second": 0.01})
    settings = box.runtime.settings.model_copy(update={"accounts": {"main": account}})
    monkeypatch.setattr(box.runtime, "settings", settings)
    assert deliver_due(box.runtime) == DeliveryReport()
    box.send()
    assert deliver_due(box.runtime) == DeliveryReport(accepted=1)

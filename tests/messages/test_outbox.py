"""Every intent is one committed row: once per key, never surprising, decided about by people where it must be."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.messages.conftest import Outbox, number
from worker.core.states import MessageState
from worker.messages.batches import release_or_hold_batch
from worker.messages.claims import claim_sends
from worker.messages.decisions import NothingChosen, WrongState, approve, cancel, resolve, retry
from worker.messages.delivery import deliver_due
from worker.messages.expiry import expire_messages
from worker.messages.intents import insert_intents
from worker.messages.opt_outs import add_opt_out, remove_opt_out
from worker.messages.outbox import enqueue_record, enqueue_send
from worker.messages.requests import IdempotencyConflict, InvalidRequest, RecordRequest, SendRequest
from worker.store.db import writing
from worker.store.ids import new_message_id
from worker.store.models import utcnow
from worker.triggers.evaluate import TextIntent

GOOD_SEND = {"account": "main", "to": number(0), "message": "hello"}
GOOD_RECORD = GOOD_SEND | {"carrier": "twilio", "carrier_message_id": "SM1"}


@pytest.mark.parametrize(
    ("good", "changes", "problem"),
    [
        (GOOD_SEND, {"account": "other"}, 'the account "other" is not configured (configured: main)'),
        (GOOD_SEND, {"to": "415 555 2671"}, "to must be a phone number in E.164"),
        (GOOD_SEND, {"to": "+1415555267"}, "to must be a number that exists and can be texted"),
        (GOOD_SEND, {"from_number": "14155552671"}, "from_number must be a phone number in E.164"),
        (GOOD_SEND, {"to": "+14155550100"}, "the same number"),
        (GOOD_SEND, {"message": " \n"}, "message is empty"),
        (GOOD_SEND, {"message": "x" * 1601}, "message has 1601 characters"),
        (GOOD_SEND, {"message": "a\x00b"}, "characters that cannot be sent"),
        (GOOD_SEND, {"message": "a\ud83d"}, "characters that cannot be sent"),
        (GOOD_SEND, {"media": ("ftp://x/y",)}, "media must be public http or https URLs"),
        (GOOD_SEND, {"media": ("https://a.example/b.png",) * 11}, "at most 10"),
        (GOOD_SEND, {"idempotency_key": " "}, "idempotency_key must be"),
        (GOOD_SEND, {"idempotency_key": "trigger:welcome:1:created"}, "must not begin with"),
        (GOOD_SEND, {"send_at": datetime(2026, 1, 1)}, "send_at must be an ISO 8601 time with a time zone"),  # noqa: DTZ001
        (GOOD_RECORD, {"sent_at": datetime(2026, 1, 1)}, "sent_at must be an ISO 8601 time with a time zone"),  # noqa: DTZ001
        (GOOD_RECORD, {"carrier": None}, "belong together"),
        (GOOD_RECORD, {"carrier": None, "carrier_message_id": None}, "recorded once"),
        (GOOD_RECORD, {"message": ""}, "message is empty"),
    ],
)
def test_an_invalid_request_says_what_to_correct(
    box: Outbox, good: dict[str, Any], changes: dict[str, Any], problem: str
) -> None:
    def ask() -> None:
        if good is GOOD_SEND:
            enqueue_send(box.runtime, SendRequest.parse(good | changes), source="http", actor="test")
        else:
            enqueue_record(box.runtime, RecordRequest.parse(good | changes), source="http", actor="test")

    with pytest.raises(InvalidRequest) as error:
        ask()
    assert any(problem in one.sentence for one in error.value.problems)
    assert box.states() == {}


def test_all_problems_are_told_at_once(box: Outbox) -> None:
    with pytest.raises(InvalidRequest) as error:
        box.send("nobody", "", media=("x",))
    assert len(error.value.problems) == 2  # empty text is fine beside media, of which the URL is wrong


ABROAD = "+525512345678"


@pytest.mark.parametrize(
    ("countries", "asked", "state"),
    [
        (None, {}, "suppressed"),
        (None, {"urgent": True}, "suppressed"),
        (None, {"from_number": "+525587654321"}, "suppressed"),
        (None, {"send_at": utcnow() + timedelta(days=30)}, "suppressed"),
        (None, {"to": "+18765550100"}, "queued"),
        (("US",), {"to": "+18765550100"}, "suppressed"),
        (("US", "MX"), {}, "queued"),
    ],
)
def test_a_text_to_another_country_is_not_even_queued(
    box: Outbox, countries: tuple[str, ...] | None, asked: dict[str, Any], state: str
) -> None:
    allow(box, countries)
    enqueued = box.enqueue(**({"to": ABROAD} | asked))
    assert enqueued.state == state
    assert enqueued.reason.startswith("country: the number is in" if state == "suppressed" else "")
    assert box.state(box.record("SM1", to=ABROAD)) is MessageState.QUEUED, "records text nobody"


def test_a_country_that_is_no_longer_allowed_is_not_texted_from_the_queue(box: Outbox) -> None:
    allow(box, ("MX",))
    waiting = box.send(ABROAD)
    allow(box, None)
    deliver_due(box.runtime, account="main", message_ids=[waiting])
    assert box.client.sent == []
    assert box.state(waiting) is MessageState.SUPPRESSED
    assert box.row(waiting).reason.startswith("country: ")


def allow(box: Outbox, countries: tuple[str, ...] | None) -> None:
    policy = box.runtime.settings.policy.model_copy(update={"countries": countries})
    box.runtime.settings = box.runtime.settings.model_copy(update={"policy": policy})


def test_the_same_key_is_the_same_message(box: Outbox) -> None:
    first = box.enqueue(idempotency_key="order-7")
    again = box.enqueue(idempotency_key="order-7")
    assert (again.message_id, again.duplicate, first.duplicate) == (first.message_id, True, False)
    with pytest.raises(IdempotencyConflict) as error:
        box.enqueue(text="another", idempotency_key="order-7")
    assert error.value.message_id == first.message_id
    assert list(box.states()) == [first.message_id]
    assert box.steps(first.message_id) == [(None, "queued")]


def test_what_a_key_stands_for_is_known_to_later_versions(box: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.messages.request_times.FURTHEST", timedelta(days=100_000))
    sent = box.send(idempotency_key="k", send_at=datetime(2099, 3, 1, 10, tzinfo=UTC))
    urgent = box.send(idempotency_key="u", media=("https://x.example/y.png",), urgent=True)
    assert box.row(sent).payload_hash == "6b6ee597a79a0a5859b8171000051b38"
    assert box.row(urgent).payload_hash == "4763f910d357a6672bd26d60cddbe24a"
    assert box.row(box.record("SM1")).payload_hash == "2f28a1cb6069d339f23fd37efc42a525"
    with pytest.raises(IdempotencyConflict):
        box.send(idempotency_key="u", media=("https://x.example/y.png",))


def test_without_a_key_every_request_is_a_text_of_its_own(box: Outbox) -> None:
    assert box.send() != box.send()


def test_the_same_key_from_many_at_once_is_one_message(box: Outbox) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: box.enqueue(idempotency_key="k"), range(16)))
    assert len({one.message_id for one in made}) == 1
    assert [one.duplicate for one in made].count(False) == 1
    assert len(box.steps(made[0].message_id)) == 1


def test_a_record_is_keyed_on_the_carriers_id_whatever_else_is_said(box: Outbox) -> None:
    first = box.record("SM1", sent_at=utcnow())
    assert box.record("SM1", sent_at=utcnow(), idempotency_key="mine") == first
    assert box.record("SM2") != first
    with pytest.raises(IdempotencyConflict):
        box.record("SM1", text="another text")


def test_a_send_and_a_record_may_share_a_key(box: Outbox) -> None:
    assert box.send(idempotency_key="twilio:SM1") != box.record("SM1")


def test_times_of_a_job(box: Outbox) -> None:
    later = utcnow() + timedelta(hours=2)
    planned = box.row(box.send(send_at=later))
    assert planned.due_at == later
    assert planned.expires_at == later + timedelta(hours=24)
    assert box.row(box.record("SM1")).expires_at is None


def test_an_opted_out_number_is_not_even_queued(box: Outbox) -> None:
    with writing(box.engine) as connection:
        assert add_opt_out(connection, number(0), source="relay", detail="STOP", now=utcnow())
        assert not add_opt_out(connection, number(0), source="cli", detail="again", now=utcnow())
    refused = box.enqueue()
    assert refused.state is MessageState.SUPPRESSED
    assert refused.reason.startswith("opted_out")
    assert box.steps(refused.message_id) == [(None, "suppressed")]
    with writing(box.engine) as connection:
        assert remove_opt_out(connection, number(0), source="cli", detail="", now=utcnow())
    assert box.enqueue().state is MessageState.QUEUED


def intent(index: int, **changes: Any) -> TextIntent:
    values = {
        "trigger": "welcome",
        "connection": "crm",
        "external_id": str(index),
        "contact_id": None,
        "phone": number(index),
        "text": "Welcome!",
        "media": (),
        "from_number": None,
        "expires_after": None,
        "occurrence": "created",
        "problem": "",
    }
    return TextIntent(**(values | changes))


def sync_page(box: Outbox, *intents: TextIntent, batch: str = "b1") -> int:
    with writing(box.engine) as connection:
        return insert_intents(connection, "main", "+14155550100", batch, list(intents), box.runtime.settings, utcnow())


def test_two_that_replay_the_same_page_do_not_wait_in_a_circle(box: Outbox) -> None:
    start = threading.Barrier(2)

    def replay(page: list[TextIntent]) -> int:
        start.wait()
        return sync_page(box, *page)

    with ThreadPoolExecutor(2) as pool:
        for first in range(0, 600, 200):
            page = [intent(index) for index in range(first, first + 200)]
            assert sum(pool.map(replay, (page, page[::-1]))) == 200


def settle(box: Outbox, limit: int = 25, batch: str = "b1") -> tuple[int, int, int]:
    with writing(box.engine) as connection:
        verdict = release_or_hold_batch(connection, batch, limit, utcnow())
    return verdict.released, verdict.held, verdict.total


def test_texts_of_a_run_wait_for_its_end_and_then_go(box: Outbox) -> None:
    assert sync_page(box, intent(1), intent(2)) == 2
    assert set(box.states().values()) == {MessageState.HELD}
    assert settle(box) == (2, 0, 2)
    assert set(box.states().values()) == {MessageState.QUEUED}
    assert settle(box) == (0, 0, 2)
    (first, *_) = box.states()
    assert box.steps(first) == [(None, "held"), ("held", "queued")]


def test_a_replayed_page_changes_nothing(box: Outbox) -> None:
    assert sync_page(box, intent(1), intent(2)) == 2
    assert sync_page(box, intent(1), intent(2), intent(3)) == 1
    assert len(box.states()) == 3
    assert all(len(box.steps(one)) == 1 for one in box.states())


def test_one_welcome_for_a_contact_but_every_change_of_a_record(box: Outbox) -> None:
    with writing(box.engine) as connection:
        connection.exec_driver_sql(
            "INSERT INTO contact (id, account, phone, full_name, email, wanted_hash, push_state, attempts, last_error,"
            " created_at) VALUES (7, 'main', '+14155552001', '', '', '1', 'due', 0, '', '2026-01-01 00:00:00')"
        )
    assert sync_page(box, intent(1, contact_id=7), intent(2, contact_id=7, phone=number(1))) == 1
    changed = {"trigger": "moved", "contact_id": 7}
    assert sync_page(box, intent(1, occurrence="r2", **changed), intent(2, occurrence="r2", **changed)) == 2
    assert sync_page(box, intent(1, occurrence="r3", **changed)) == 1


def test_an_intent_that_could_not_be_rendered_is_kept_and_never_sent(box: Outbox) -> None:
    with writing(box.engine) as connection:
        add_opt_out(connection, number(2), source="relay", detail="STOP", now=utcnow())
    sync_page(box, intent(1, text="", problem="first_name is empty"), intent(2), intent(3))
    reasons = {box.row(one).external_id: (state, box.row(one).reason) for one, state in box.states().items()}
    assert reasons["1"] == (MessageState.SUPPRESSED, "template: first_name is empty")
    assert reasons["2"][0] is MessageState.SUPPRESSED
    assert settle(box, limit=1) == (1, 0, 1)  # what is suppressed reaches nobody and does not count


def test_too_many_people_means_approval_for_all_of_them(box: Outbox) -> None:
    sync_page(box, *[intent(i) for i in range(3)])
    assert settle(box, limit=2) == (0, 3, 3)
    assert all(box.row(one).reason.startswith("approval: ") for one in box.states())
    assert approve(box.runtime, batch_id="another", actor="ann") == 0
    assert approve(box.runtime, batch_id="b1", actor="ann") == 3
    assert approve(box.runtime, batch_id="b1", actor="ann") == 0
    assert set(box.states().values()) == {MessageState.QUEUED}


def test_the_limit_counts_people_over_all_runs_of_a_batch(box: Outbox) -> None:
    sync_page(box, intent(1), intent(2, phone=number(1)))
    assert settle(box, limit=2) == (2, 0, 1)  # two texts, one person
    sync_page(box, intent(3), intent(4))
    assert settle(box, limit=2) == (0, 2, 3)  # the resumed run goes over it
    sync_page(box, intent(5), batch="b2")
    assert settle(box, limit=2, batch="b2") == (0, 1, 1)  # the next one is within a sync's limit, and over the day's
    assert settle(box, limit=4, batch="b2") == (0, 1, 1)  # what waits for a person waits until a person decides


def test_an_approval_is_for_what_waits_now(box: Outbox) -> None:
    sync_page(box, intent(1), intent(2))
    settle(box, limit=1)
    approve(box.runtime, batch_id="b1", actor="ann")
    sync_page(box, intent(3))
    assert approve(box.runtime, trigger="welcome", actor="ann") == 0  # its run is still open
    assert settle(box, limit=1) == (0, 1, 3)


def test_cancelling_ends_what_has_not_begun(box: Outbox) -> None:
    queued, sending, done = (box.send(number(i)) for i in range(3))
    box.change(sending, state="dispatching", lease_owner="w", lease_until=utcnow() + timedelta(minutes=1))
    box.change(done, state="accepted")
    with writing(box.engine) as connection:
        claim_sends(connection, utcnow(), 60, 10, account="main")
    assert cancel(box.runtime, message_ids=[queued, sending, done], actor="ann") == 1
    assert box.state(queued) is MessageState.CANCELLED
    assert box.state(sending) is MessageState.DISPATCHING
    assert box.steps(queued)[-1] == ("queued", "cancelled")


@pytest.mark.parametrize("decide", [approve, cancel])
def test_deciding_about_everything_by_mistake_is_refused(box: Outbox, decide: Any) -> None:
    with pytest.raises(NothingChosen):
        decide(box.runtime, actor="ann")


def test_a_person_settles_an_unknown_text(box: Outbox) -> None:
    sent, again = box.send(number(1)), box.send(number(2))
    past = utcnow() - timedelta(hours=1)
    box.change(state="unknown", expires_at=past)
    resolve(box.runtime, sent, "sent", "ann")
    resolve(box.runtime, again, "resend", "ann")
    assert box.state(sent) is MessageState.CONFIRMED
    assert box.state(again) is MessageState.QUEUED
    assert box.row(again).expires_at > utcnow()  # a person wants it now
    for message_id in (sent, again):
        with pytest.raises(WrongState):
            resolve(box.runtime, message_id, "resend", "ann")
    with pytest.raises(LookupError):
        resolve(box.runtime, "0" * 32, "sent", "ann")


def test_retry_takes_only_what_ended_badly(box: Outbox) -> None:
    rejected, accepted, unknown = (box.send(number(i)) for i in range(3))
    for message_id, state in ((rejected, "rejected"), (accepted, "accepted"), (unknown, "unknown")):
        box.change(message_id, state=state)
    assert retry(box.runtime, [rejected, accepted, unknown], "ann") == 1
    assert box.state(rejected) is MessageState.QUEUED
    assert box.state(unknown) is MessageState.UNKNOWN


def test_what_is_late_expires_also_when_held(box: Outbox) -> None:
    sync_page(box, intent(1))
    queued, fresh = box.send(number(2)), box.send(number(3))
    (held,) = set(box.states()) - {queued, fresh}
    for late in (held, queued):
        box.change(late, expires_at=utcnow())
    with writing(box.engine) as connection:
        assert expire_messages(connection, utcnow()) == 2
        assert expire_messages(connection, utcnow()) == 0
    assert [box.state(one) for one in (held, queued, fresh)] == ["expired", "expired", "queued"]
    assert "expired" in box.row(held).reason


def test_ids_sort_by_time_and_look_like_uuid7() -> None:
    made = [new_message_id() for _ in range(1000)]
    assert made == sorted(set(made))
    assert all(len(one) == 32 and one[12] == "7" and one[16] in "89ab" for one in made)

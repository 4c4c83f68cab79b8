"""Random histories of failures, crashes, replies, decisions and switches to test mode.

No text goes out twice unless a person asked for it, none after a reply if its trigger stops on a reply, and none that
test mode or a test key forbids.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from sqlalchemy import event, select
from sqlmodel import SQLModel

from config.models import Connection
from config.triggers import ChangedTrigger
from tests.conftest import STORE_KEY
from tests.messages.conftest import PAST, FakeClient, FakeRuntime, Outbox, crm_record_of, number
from worker.core.content_cipher import ContentCipher
from worker.core.states import MessageState
from worker.messages.claims import claim_sends, expire_leases
from worker.messages.decisions import WrongState, cancel, resolve, retry
from worker.messages.delivery import deliver_due
from worker.messages.opt_outs import add_opt_out
from worker.messages.outbox import enqueue_send
from worker.messages.requests import IdempotencyConflict, SendRequest
from worker.store.db import open_engine, reading, writing
from worker.store.models import utcnow
from worker.store.tables import message, message_event
from worker.virtualtext.outcomes import Cause, MessageBody, Outcome, Receipt, Status

NEVER_SENT = {
    MessageState.REJECTED,
    MessageState.SUPPRESSED,
    MessageState.EXPIRED,
    MessageState.CANCELLED,
    MessageState.SIMULATED,
}
TEST_KEY_TEXT = "test"


class Vanished(BaseException):
    """The worker is gone: nothing after this runs."""


class _Store:
    """One file for all examples, emptied between them."""

    def __init__(self, cipher: ContentCipher | None = None) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.engine = open_engine(f"sqlite:///{Path(self.directory.name) / 'store.sqlite3'}", cipher=cipher)
        event.listen(self.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
        SQLModel.metadata.create_all(self.engine)

    def empty(self) -> None:
        with writing(self.engine) as connection:
            for table in reversed(SQLModel.metadata.sorted_tables):
                connection.execute(table.delete())


_stores: dict[bool, _Store] = {}

TRIGGER = {"connections": "crm", "on": "changed", "field": "stage", "message": "Hi"}
WITH_TRIGGERS: dict[str, Any] = {
    "connections": {"crm": Connection(adapter="csv", account="main")},
    "triggers": {
        "follow_up": ChangedTrigger(**TRIGGER, stop_on_reply=True),  # type: ignore[arg-type]
        "news": ChangedTrigger(**TRIGGER),  # type: ignore[arg-type]
    },
}
DONE = ("done",)
FATES = st.sampled_from(
    [
        DONE,
        ("lost", True),
        ("lost", False),
        ("vanished", True),
        ("vanished", False),
        ("defect", True),
        ("late", "done"),
        ("late", "not done"),
        ("late and resent", "done"),
        ("late and resent", "not done"),
        *[("not done", cause) for cause in (Cause.REJECTED, Cause.OPTED_OUT, Cause.UNREACHABLE)],
        ("not done", Cause.CREDENTIALS),
        ("not done", Cause.RATE_LIMITED),
    ]
)


class OutboxMachine(RuleBasedStateMachine):
    """``really_sent`` is what reached phones; ``resends`` what people asked to repeat. ``replies`` are committed."""

    messages = Bundle("messages")

    @initialize(target=messages, encrypted=st.booleans())
    def begin(self, encrypted: bool) -> Any:
        if encrypted not in _stores:
            _stores[encrypted] = _Store(ContentCipher(STORE_KEY) if encrypted else None)
        store = _stores[encrypted]
        store.empty()
        self.client = FakeClient(answer=self.answer)
        self.box = Outbox(FakeRuntime(store.engine, self.client, concurrency=1), self.client)
        self.box.runtime.settings = self.box.runtime.settings.model_copy(update=WITH_TRIGGERS)
        for person in range(4):
            crm_record_of(self.box.engine, "crm", str(person), number(person))
        self.replies: dict[str, datetime] = {}
        self.after_a_reply: list[str] = []
        self.really_sent: Counter[str] = Counter()
        self.resends: Counter[str] = Counter()
        self.fates: list[tuple[Any, ...]] = []
        self.forbidden: list[MessageBody] = []
        self.workers = [self.box.runtime]
        """The runtimes of workers that began before the mode was switched; the last one has the newest settings."""
        return multiple(*[self.box.send(number(i), f"first {i}") for i in range(6)])

    def answer(self, body: MessageBody, call: int) -> Outcome[Receipt]:
        only = self.workers[-1].settings.accounts["main"].only_numbers
        if (only is not None and body.to not in only) or body.text == TEST_KEY_TEXT:
            self.forbidden.append(body)  # an error here would count as a lost response
        fate = self.fates.pop(0) if self.fates else DONE
        (message_id,) = [one for one, state in self.box.states().items() if state is MessageState.DISPATCHING][-1:]
        self.current = message_id
        row = self.box.row(message_id)
        if row.trigger == "follow_up" and self.replies.get(body.to, PAST) > row.created_at:
            self.after_a_reply.append(body.text)  # a request that fails here would be an unknown one
        match fate:
            case ("done",):
                return self.sent(Outcome(Status.DONE, Receipt()))
            case ("not done", cause):
                return Outcome(Status.NOT_DONE, cause=cause)
            case ("lost", reached):
                lost: Outcome[Receipt] = Outcome(Status.UNKNOWN, cause=Cause.TIMEOUT)
                return self.sent(lost) if reached else lost
            case ("vanished", reached):
                self.really_sent[body.text] += reached
                raise Vanished
            case ("defect", _):
                self.really_sent[body.text] += 1
                raise RuntimeError
        self.box.leases_run_out()
        with writing(self.box.engine) as connection:
            expire_leases(connection, utcnow())
        done = fate[1] == "done"
        if fate[0] == "late and resent":
            self.resolve(message_id, "resend")
            # Its success comes in before the resend begins: the text was sent, and nothing is left to repeat.
            self.resends[body.text] -= done
        return self.sent(Outcome(Status.DONE)) if done else Outcome(Status.NOT_DONE, cause=Cause.REJECTED)

    def sent(self, outcome: Outcome[Receipt]) -> Outcome[Receipt]:
        self.really_sent[self.box.row(self.current).text] += 1
        return outcome

    @rule(target=messages, person=st.integers(0, 1), key=st.integers(0, 3), other_text=st.booleans())
    def enqueue(self, person: int, key: int, other_text: bool) -> Any:
        text = f"{key} to {person}" if other_text else str(key)
        try:
            return self.box.send(number(person), text, idempotency_key=text if other_text else f"k{key}")
        except IdempotencyConflict:
            return multiple()

    @rule(
        target=messages, person=st.integers(0, 3), key=st.integers(0, 2), trigger=st.sampled_from(["follow_up", "news"])
    )
    def trigger_fires(self, person: int, key: int, trigger: str) -> Any:
        with reading(self.box.engine) as connection:
            known = {row.idempotency_key: row.id for row in connection.execute(select(message))}
        if f"trigger:{trigger}:crm:{person}:r{key}" in known:
            return multiple()
        return self.box.trigger_text(trigger, number(person), str(person), f"r{key}")

    @rule(person=st.integers(0, 3))
    def answers(self, person: int) -> None:
        self.replies[number(person)] = utcnow()
        self.box.replied(number(person), self.replies[number(person)])

    @rule(target=messages, person=st.integers(0, 1), key=st.integers(0, 3))
    def enqueue_with_a_test_key(self, person: int, key: int) -> str:
        values = {
            "account": "main",
            "to": number(person),
            "message": TEST_KEY_TEXT,
            "idempotency_key": f"t{key}{person}",
        }
        return enqueue_send(
            self.box.runtime, SendRequest.parse(values), source="http", actor="test", test=True
        ).message_id

    @rule(mode=st.sampled_from(["live", "test"]), listed=st.sets(st.integers(0, 3), max_size=2))
    def switch_mode(self, mode: str, listed: set[int]) -> None:
        self.box.switch(mode, *map(number, sorted(listed)))
        self.workers.append(self.box.runtime)

    @rule(fates=st.lists(FATES, min_size=6, max_size=6), worker=st.integers(0, 5))
    def a_worker_with_older_settings_delivers(self, fates: list[tuple[Any, ...]], worker: int) -> None:
        self.fates = list(fates)
        self.time_passes()
        with contextlib.suppress(Vanished):
            deliver_due(self.workers[worker % len(self.workers)], limit=len(fates))

    @rule(fates=st.lists(FATES, min_size=6, max_size=6), waited=st.just(False))
    def deliver(self, fates: list[tuple[Any, ...]], waited: bool) -> None:
        self.fates = list(fates)
        if waited:
            self.time_passes()
        with contextlib.suppress(Vanished):
            deliver_due(self.box.runtime, limit=len(fates))

    @rule(fates=st.lists(FATES, min_size=6, max_size=6))
    def deliver_after_a_while(self, fates: list[tuple[Any, ...]]) -> None:
        self.deliver(fates, waited=True)

    @rule()
    def another_worker_claims_and_vanishes(self) -> None:
        with writing(self.box.engine) as connection:
            claim_sends(connection, utcnow(), 60, 3, account="main")

    @rule()
    def time_passes(self) -> None:
        self.box.all_due()
        self.box.leases_run_out()

    @rule(one=messages)
    def expires(self, one: str) -> None:
        self.box.change(one, expires_at=PAST + timedelta(days=1))

    @rule(person=st.integers(0, 3))
    def opts_out(self, person: int) -> None:
        with writing(self.box.engine) as connection:
            add_opt_out(connection, number(person), source="relay", detail="STOP", now=utcnow())

    @rule(one=messages, verdict=st.sampled_from(["sent", "resend"]))
    def resolve(self, one: str, verdict: Any) -> None:
        try:
            resolve(self.box.runtime, one, verdict, "ann")
        except WrongState:
            return
        self.resends[self.box.row(one).text] += verdict == "resend"

    @rule(one=messages)
    def retry(self, one: str) -> None:
        retry(self.box.runtime, [one], "ann")

    @rule(one=consumes(messages))
    def cancel(self, one: str) -> None:
        cancel(self.box.runtime, message_ids=[one], actor="ann")

    @invariant()
    def nobody_is_texted_twice(self) -> None:
        for text, times in self.really_sent.items():
            assert times <= 1 + self.resends[text]

    @invariant()
    def no_text_goes_after_a_reply(self) -> None:
        assert self.after_a_reply == []

    def no_request_is_made_that_test_mode_or_a_test_key_forbids(self) -> None:
        assert self.forbidden == []

    @invariant()
    def the_store_tells_the_truth(self) -> None:
        """What is called not sent was not sent, what is called accepted was, and every history is whole."""
        with reading(self.box.engine) as connection:
            rows = connection.execute(select(message.c.id, message.c.state, message.c.text)).all()
            events = connection.execute(select(message_event).order_by(message_event.c.id)).all()
        for row in rows:
            if not self.resends[row.text] and row.text != TEST_KEY_TEXT:
                assert not (row.state in NEVER_SENT and self.really_sent[row.text])
                assert not (row.state == MessageState.ACCEPTED and not self.really_sent[row.text])
            steps = [(one.from_state, one.to_state) for one in events if one.message_id == row.id]
            assert [before for before, _ in steps] == [None, *[after for _, after in steps[:-1]]]
            assert steps[-1][1] == row.state

    def teardown(self) -> None:
        """Left alone long enough, everything comes to an end."""
        self.fates = []
        for _ in range(3):
            self.time_passes()
            deliver_due(self.box.runtime)
        assert not {MessageState.QUEUED, MessageState.DISPATCHING} & set(self.box.states().values())
        self.nobody_is_texted_twice()
        self.no_text_goes_after_a_reply()
        self.no_request_is_made_that_test_mode_or_a_test_key_forbids()
        self.the_store_tells_the_truth()


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(
    max_examples=45,
    stateful_step_count=12,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # twelve steps are short enough to read, and shrinking takes minutes
    suppress_health_check=list(HealthCheck),
)

"""Random histories of failures, crashes and decisions: no text goes out twice unless a person asked for it."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from sqlalchemy import event
from sqlmodel import SQLModel

from tests.messages.conftest import PAST, FakeClient, FakeRuntime, Outbox, number
from worker.messages.claims import claim_sends, expire_leases
from worker.messages.decisions import WrongState
from worker.messages.delivery import deliver_due
from worker.messages.opt_outs import add_opt_out
from worker.messages.outbox import IdempotencyConflict, cancel, resolve, retry
from worker.store.db import open_engine, writing
from worker.store.models import MessageState, utcnow
from worker.virtualtext.outcomes import Cause, MessageBody, Outcome, Receipt, Status

NEVER_SENT = {MessageState.REJECTED, MessageState.SUPPRESSED, MessageState.EXPIRED, MessageState.CANCELLED}


class Vanished(BaseException):
    """The worker is gone: nothing after this runs."""


class _Store:
    """One file for all examples, emptied between them."""

    def __init__(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.engine = open_engine(f"sqlite:///{Path(self.directory.name) / 'store.sqlite3'}")
        event.listen(self.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
        SQLModel.metadata.create_all(self.engine)

    def empty(self) -> None:
        with writing(self.engine) as connection:
            for table in reversed(SQLModel.metadata.sorted_tables):
                connection.execute(table.delete())


_store: list[_Store] = []

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
        *[("not done", cause) for cause in (Cause.REJECTED, Cause.CREDENTIALS, Cause.OPTED_OUT)],
        *[("not done", cause) for cause in (Cause.RATE_LIMITED, Cause.UNREACHABLE, Cause.REDIRECTED)],
    ]
)


class OutboxMachine(RuleBasedStateMachine):
    """``really_sent`` is what reached phones; ``resends`` what people asked to repeat."""

    messages = Bundle("messages")

    @initialize(target=messages)
    def begin(self) -> Any:
        if not _store:
            _store.append(_Store())
        _store[0].empty()
        self.client = FakeClient(answer=self.answer)
        self.box = Outbox(FakeRuntime(_store[0].engine, self.client, concurrency=1), self.client)
        self.really_sent: Counter[str] = Counter()
        self.resends: Counter[str] = Counter()
        self.fates: list[tuple[Any, ...]] = []
        return multiple(*[self.box.send(number(i), f"first {i}") for i in range(4)])

    def answer(self, body: MessageBody, call: int) -> Outcome[Receipt]:
        fate = self.fates.pop(0) if self.fates else DONE
        (message_id,) = [one for one, state in self.box.states().items() if state is MessageState.DISPATCHING][-1:]
        self.current = message_id
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

    @rule(fates=st.lists(FATES, min_size=1, max_size=4), waited=st.booleans())
    def deliver(self, fates: list[tuple[Any, ...]], waited: bool) -> None:
        self.fates = list(fates)
        if waited:
            self.time_passes()
        with contextlib.suppress(Vanished):
            deliver_due(self.box.runtime, limit=len(fates))

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
    def what_is_called_not_sent_was_not_sent(self) -> None:
        for one, state in self.box.states().items():
            text = self.box.row(one).text
            if not self.resends[text]:
                assert not (state in NEVER_SENT and self.really_sent[text])
                assert not (state is MessageState.ACCEPTED and not self.really_sent[text])

    @invariant()
    def the_history_is_whole(self) -> None:
        for one, state in self.box.states().items():
            steps = self.box.steps(one)
            assert steps[0][0] is None
            assert [before for before, _ in steps[1:]] == [after for _, after in steps[:-1]]
            assert steps[-1][1] == state

    def teardown(self) -> None:
        """Left alone long enough, everything comes to an end."""
        self.fates = []
        for _ in range(3):
            self.time_passes()
            deliver_due(self.box.runtime)
        assert not {MessageState.QUEUED, MessageState.DISPATCHING} & set(self.box.states().values())
        self.nobody_is_texted_twice()
        self.the_history_is_whole()


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(
    max_examples=40, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)

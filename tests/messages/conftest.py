"""An outbox in a store of each kind, and a client that is told what VirtualText will answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Row, insert, select, update

from config.models import Account, Policy, Settings
from worker.core.states import MessageState
from worker.messages.opt_outs import open_reviews
from worker.messages.outbox import Enqueued, enqueue_record, enqueue_send, insert_new
from worker.messages.requests import RecordRequest, SendRequest
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.ids import new_message_id
from worker.store.models import utcnow
from worker.store.tables import account_state, contact, contact_mapping, inbound_message, message, message_event
from worker.virtualtext.outcomes import MessageBody, Outcome, Receipt, Status

PAST = datetime(2020, 1, 1, tzinfo=UTC)
# The tests run at night, too, and say "hello" to one number all the time.
AT_ANY_HOUR = Policy(quiet_hours="none", duplicate_window=timedelta(0), max_per_contact=None)

Answer = Callable[[MessageBody, int], Outcome[Receipt]]


def number(index: int) -> str:
    """The n-th of some valid numbers."""
    return f"+1415555{2000 + index}"


@dataclass
class FakeClient:
    """Answers as told, and remembers what really happened: ``sent`` are texts that reached a phone."""

    answer: Answer = field(default=lambda body, attempt: Outcome(Status.DONE, Receipt()))
    sent: list[MessageBody] = field(default_factory=list)
    recorded: list[MessageBody] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    _calls: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send_message(self, body: MessageBody) -> Outcome[Receipt]:
        return self._call(body, self.sent)

    def record_message(self, body: MessageBody) -> Outcome[Receipt]:
        return self._call(body, self.recorded)

    def _call(self, body: MessageBody, happened: list[MessageBody]) -> Outcome[Receipt]:
        with self._lock:
            self._calls += 1
            number_ = self._calls
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            outcome = self.answer(body, number_)
        finally:
            with self._lock:
                self.in_flight -= 1
        if outcome.status is not Status.NOT_DONE:
            with self._lock:
                happened.append(body)
        return outcome


class FakeRuntime(Runtime):
    """A runtime with an engine and a client of the test's."""

    def __init__(self, engine: Engine, client: Any, **account: Any) -> None:
        options = {"uid": "u1", "token": "secret", "from_number": "+14155550100", "concurrency": 4} | account
        super().__init__(Settings(accounts={"main": Account(**options)}, policy=AT_ANY_HOUR), engine=engine)
        self.fake = client

    def client(self, account: str) -> Any:
        return self.fake


@dataclass
class Outbox:
    """Short words for what the tests do to the store."""

    runtime: FakeRuntime
    client: FakeClient

    @property
    def engine(self) -> Engine:
        return self.runtime.engine

    def send(self, to: str = number(0), text: str = "hello", **more: Any) -> str:
        return self.enqueue(to, text, **more).message_id

    def enqueue(self, to: str = number(0), text: str = "hello", **more: Any) -> Enqueued:
        request = SendRequest.parse({"account": "main", "to": to, "message": text} | more)
        return enqueue_send(self.runtime, request, source="cli", actor="test")

    def switch(self, mode: str, *test_numbers: str) -> None:
        """Change the account's mode, as an edit of the configuration does."""
        settings = self.runtime.settings
        account = settings.accounts["main"].model_copy(update={"mode": mode, "test_numbers": test_numbers})
        self.runtime = self.runtime.but(settings=settings.model_copy(update={"accounts": {"main": account}}))

    def record(self, sid: str, to: str = number(0), text: str = "sent elsewhere", **more: Any) -> str:
        values = {"account": "main", "to": to, "message": text, "carrier": "twilio", "carrier_message_id": sid}
        request = RecordRequest.parse(values | more)
        return enqueue_record(self.runtime, request, source="http", actor="test").message_id

    def trigger_text(self, name: str, to: str = number(0), record: str = "1", key: str = "r2", **more: Any) -> str:
        """A text of a trigger about a record of the connection crm, due now."""
        now = utcnow()
        row = {
            "id": new_message_id(), "account": "main", "kind": "send", "state": MessageState.QUEUED, "reason": "",
            "to_number": to, "from_number": "+14155550100", "text": f"{name} {record} {key}", "media": "[]",
            "segments": 1, "source": "trigger", "trigger": name, "connection": "crm", "external_id": record,
            "idempotency_key": f"trigger:{name}:crm:{record}:{key}", "payload_hash": "", "created_at": now,
            "due_at": now, "expires_at": now + timedelta(days=30), "attempts": 0,
        }  # fmt: skip
        with writing(self.engine) as connection:
            insert_new(connection, row, "sync")
        if more:
            self.change(str(row["id"]), **more)
        return str(row["id"])

    def replied(
        self, whose: str = number(0), at: datetime | None = None, words: str = "Yes", to: str = "+14155550100"
    ) -> None:
        """A reply that the inbox has stored."""
        row = {
            "id": new_message_id(), "account": "main", "from_number": whose, "to_number": to,
            "text": words, "media": "[]", "keyword": "", "received_at": at or utcnow(),
        }  # fmt: skip
        with writing(self.engine) as connection:
            connection.execute(insert(inbound_message).values(row))

    def row(self, message_id: str) -> Row[Any]:
        with reading(self.engine) as connection:
            return connection.execute(select(message).where(message.c.id == message_id)).one()

    def state(self, message_id: str) -> MessageState:
        return MessageState(self.row(message_id).state)

    def last_reply(self, phone: str) -> datetime:
        """When the newest reply was noted that waits for a decision, as the lists of reviews show it."""
        with reading(self.engine) as connection:
            (review,) = open_reviews(connection, phones=[phone])
        return review.last_at

    def states(self) -> dict[str, MessageState]:
        with reading(self.engine) as connection:
            return {row.id: MessageState(row.state) for row in connection.execute(select(message))}

    def steps(self, message_id: str) -> list[tuple[str | None, str]]:
        with reading(self.engine) as connection:
            events = select(message_event).where(message_event.c.message_id == message_id)
            return [(row.from_state, row.to_state) for row in connection.execute(events.order_by(message_event.c.id))]

    def change(self, message_id: str | None = None, **values: Any) -> None:
        with writing(self.engine) as connection:
            statement = update(message).values(**values)
            connection.execute(statement if message_id is None else statement.where(message.c.id == message_id))

    def all_due(self) -> None:
        """As if every wait were over."""
        self.change(due_at=PAST)
        with writing(self.engine) as connection:
            connection.execute(update(account_state).values(paused_until=PAST, rate_lowered_at=PAST))

    def leases_run_out(self) -> None:
        """As if every worker had vanished long ago."""
        with writing(self.engine) as connection:
            leased = update(message).where(message.c.lease_until.is_not(None))
            connection.execute(leased.values(lease_until=utcnow() - timedelta(seconds=1)))

    def account(self) -> Row[Any] | None:
        with reading(self.engine) as connection:
            return connection.execute(select(account_state)).one_or_none()


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def box(engine: Engine, client: FakeClient) -> Outbox:
    return Outbox(FakeRuntime(engine, client), client)


def crm_record_of(engine: Engine, connection_name: str, external_id: str, phone: str, **mapping: Any) -> None:
    """A CRM record that a sync has read."""
    with writing(engine) as connection:
        values = {"account": "main", "phone": phone, "full_name": "", "email": "", "wanted_hash": b"1"}
        defaults = {"push_state": "synced", "attempts": 0, "last_error": "", "created_at": PAST}
        key = connection.execute(insert(contact).values(values | defaults).returning(contact.c.id)).scalar_one()
        row = {"connection": connection_name, "external_id": external_id, "contact_id": key, "record_hash": b"1"}
        rest = {
            "properties": "{}",
            "first_seen_at": PAST,
            "changed_at": PAST,
            "full_name": "",
            "email": "",
            "revision": 1,
        }
        connection.execute(insert(contact_mapping).values(row | rest | mapping))

"""A store of each kind, an outbox in it, and a client that is told what VirtualText will answer."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Row, create_engine, select, text, update
from sqlmodel import SQLModel

from config.models import Account, Settings
from worker.messages.outbox import Enqueued, RecordRequest, SendRequest, enqueue_record, enqueue_send
from worker.runtime import Runtime
from worker.store.db import open_engine, reading, writing
from worker.store.models import MessageState, utcnow
from worker.store.tables import account_state, message, message_event
from worker.virtualtext.outcomes import MessageBody, Outcome, Receipt, Status

POSTGRES = os.environ.get("VTSYNC_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1/test")
PAST = datetime(2020, 1, 1, tzinfo=UTC)

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
        super().__init__(Settings(accounts={"main": Account(**options)}))
        self.__dict__["engine"] = engine
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
        return enqueue_send(self.runtime, SendRequest("main", to, text, **more), source="cli", actor="test")

    def record(self, sid: str, to: str = number(0), text: str = "sent elsewhere", **more: Any) -> str:
        request = RecordRequest("main", to, text, carrier="twilio", carrier_message_id=sid, **more)
        return enqueue_record(self.runtime, request, source="http", actor="test").message_id

    def row(self, message_id: str) -> Row[Any]:
        with reading(self.engine) as connection:
            return connection.execute(select(message).where(message.c.id == message_id)).one()

    def state(self, message_id: str) -> MessageState:
        return MessageState(self.row(message_id).state)

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
            connection.execute(update(account_state).values(paused_until=PAST))

    def leases_run_out(self) -> None:
        """As if every worker had vanished long ago."""
        with writing(self.engine) as connection:
            leased = update(message).where(message.c.lease_until.is_not(None))
            connection.execute(leased.values(lease_until=utcnow() - timedelta(seconds=1)))

    def account(self) -> Row[Any] | None:
        with reading(self.engine) as connection:
            return connection.execute(select(account_state)).one_or_none()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Engine]:
    """A schema of this process's own, or a skip where there is no PostgreSQL."""
    try:
        admin = create_engine(POSTGRES, connect_args={"connect_timeout": 2})
        schema = f"messages_{uuid.uuid4().hex[:12]}"
        with admin.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {schema}"))
    except Exception as error:
        if os.environ.get("VTSYNC_TEST_POSTGRES"):
            raise
        pytest.skip(f"no PostgreSQL: {type(error).__name__}")
    engine = open_engine(f"{POSTGRES}?options=-csearch_path%3D{schema}")
    SQLModel.metadata.create_all(engine)
    yield engine
    engine.dispose()
    with admin.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    admin.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty store of each kind."""
    if request.param == "postgres":
        engine = request.getfixturevalue("postgres")
        yield engine
        names = ", ".join(f'"{table.name}"' for table in SQLModel.metadata.sorted_tables)
        with engine.begin() as connection:
            connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
        return
    engine = open_engine(f"sqlite:///{tmp_path / 'store.sqlite3'}")
    SQLModel.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def box(engine: Engine, client: FakeClient) -> Outbox:
    return Outbox(FakeRuntime(engine, client), client)

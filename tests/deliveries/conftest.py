"""A store, a CRM in a database, and a service that hears webhooks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text, update
from standardwebhooks.webhooks import Webhook

from config.integrations import Subscriber
from config.models import Account, Connection, Settings
from tests.inbox.conftest import THEM, Inbox
from tests.messages.conftest import AT_ANY_HOUR, FakeClient, FakeRuntime, crm_record_of
from worker.deliveries.claims import DeliveryCounts
from worker.deliveries.fan_out import fan_out
from worker.deliveries.run import run_deliveries
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import delivery

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


# What does not depend on the kind of store is tested on one.
on_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@dataclass
class Receiver:
    """A service that answers as told and checks each signature with the scheme's own library."""

    url: str = ""
    answer: Callable[[dict[str, Any]], tuple[int, dict[str, str]]] = field(default=lambda _: (200, {}))
    heard: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    bodies: dict[str, set[bytes]] = field(default_factory=dict)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            event = Webhook(SECRET).verify(body, {key.lower(): value for key, value in self.headers.items()})
            status, headers = made.answer(event)
            made.heard.append(event)
            made.ids.append(self.headers["webhook-id"])
            made.bodies.setdefault(self.headers["webhook-id"], set()).add(body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}/hook"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


@dataclass
class Outward(Inbox):
    """An outbox, an inbox, and what leaves from them."""

    crm: Engine

    def goes(self) -> DeliveryCounts:
        while fan_out(self.runtime):
            pass
        return run_deliveries(self.runtime, 10_000)

    def later_still(self) -> None:
        with writing(self.engine) as connection:
            connection.execute(update(delivery).values(due_at=utcnow() - timedelta(seconds=1)))

    def forwards(self) -> list[Any]:
        return self.rows(delivery)

    def logged(self) -> list[Any]:
        with self.crm.connect() as connection:
            return list(connection.execute(text("SELECT record_id, direction, text FROM texts ORDER BY rowid")))

    def flag(self, key: int = 1) -> Any:
        with self.crm.connect() as connection:
            return connection.execute(text("SELECT dnt FROM people WHERE id = :id"), {"id": key}).scalar()


@pytest.fixture
def outward(engine: Engine, receiver: Receiver, tmp_path: Path) -> Outward:
    crm = create_engine(f"sqlite:///{tmp_path / 'crm.sqlite3'}")
    with crm.begin() as connection:
        connection.execute(text("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, mobile TEXT, dnt TEXT)"))
        connection.execute(text("INSERT INTO people VALUES (1, 'Ada', :p, 'no'), (2, 'Bob', '', NULL)"), {"p": THEM})
        connection.execute(
            text(
                "CREATE TABLE texts (message_id TEXT UNIQUE, record_id INTEGER, direction TEXT, sent_at TEXT,"
                " text TEXT, media TEXT, from_number TEXT, to_number TEXT)"
            )
        )
    client = FakeClient()
    runtime = FakeRuntime(engine, client)
    options = {"url": f"sqlite:///{tmp_path / 'crm.sqlite3'}", "table": "people", "log_table": "texts"}
    runtime.settings = Settings(
        accounts={"main": Account(uid="u", token="t", from_number="+14155550100")},
        policy=AT_ANY_HOUR,
        connections={
            "people": Connection(
                adapter="sql",
                account="main",
                options=options,
                log_messages=True,
                report_opt_outs=True,
                do_not_text={"field": "dnt"},
            )
        },
        subscribers={"shop": Subscriber(url=receiver.url, secret=SECRET, events=("*",))},
    )
    crm_record_of(engine, "people", "1", THEM, properties='{"dnt": null}')
    return Outward(runtime, client, crm)

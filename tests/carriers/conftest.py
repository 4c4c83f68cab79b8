"""An inbox for carriers' events, and a carrier's API that answers as told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine

from config.integrations import Carrier
from config.models import Account, Settings
from tests.inbox.conftest import Inbox
from tests.messages.conftest import AT_ANY_HOUR, FakeClient, FakeRuntime
from worker.inbox.carrier_texts import prepare_carrier
from worker.inbox.events import Incoming, store_events
from worker.inbox.process import InboxReport, process_due
from worker.inbox.relay import prepare_relay
from worker.store.db import writing
from worker.store.models import utcnow


@dataclass
class CarrierServer:
    """``answer``: path -> (status, body)."""

    url: str = ""
    answer: Callable[[str], tuple[int, Any]] = field(default=lambda _: (404, {}))
    asked: list[str] = field(default_factory=list)
    credentials: set[str] = field(default_factory=set)


@pytest.fixture
def carrier() -> Iterator[CarrierServer]:
    made = CarrierServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            made.credentials.add(self.headers.get("Authorization", ""))
            status, body = made.answer(self.path)
            data = body if isinstance(body, bytes) else orjson.dumps(body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


@dataclass
class CarrierInbox(Inbox):
    """An inbox that carriers' events come into."""

    def tells(self, name: str, *payloads: Any) -> InboxReport:
        with writing(self.engine) as connection:
            store_events(
                connection, [Incoming("carrier", name, orjson.dumps(one).decode(), utcnow()) for one in payloads]
            )
        return self.process()

    def process(self) -> InboxReport:
        return process_due(self.runtime, {"relay": prepare_relay, "carrier": prepare_carrier}, limit=10_000)


@pytest.fixture
def inbox(engine: Engine, carrier: CarrierServer) -> CarrierInbox:
    client = FakeClient()
    runtime = FakeRuntime(engine, client)
    common: dict[str, Any] = {"account": "main", "api_url": carrier.url, "auth_token": "hush", "account_id": "AC1"}
    runtime.settings = Settings(
        accounts={"main": Account(uid="u", token="t", from_number="+14155550100")},
        policy=AT_ANY_HOUR,
        carriers={
            "tw": Carrier(carrier="twilio", poll_every="10m", **common),
            "tx": Carrier(carrier="telnyx", account="main", public_key="x"),
            "bw": Carrier(carrier="bandwidth", account="main", username="u", password="p"),
            "pl": Carrier(carrier="plivo", account="main", auth_token="hush"),
            "vo": Carrier(carrier="vonage", account="main", signing_key="hush"),
            "si": Carrier(carrier="sinch", signing_key="s", poll_every="10m", **common),
        },
    )
    return CarrierInbox(runtime, client)

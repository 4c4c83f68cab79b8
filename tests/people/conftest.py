"""One person, and everything that can happen with them: CRM records, texts of every kind, replies, opt-outs."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, select
from sqlmodel import SQLModel

from config.models import Policy, PropertyRule, Store, Subscriber
from config.triggers import CreatedTrigger
from tests.contacts.conftest import FakeRuntime, World
from tests.fakes import sources
from worker.core.phones import mentions_number
from worker.deliveries.fan_out import fan_out
from worker.inbox.events import Incoming, store_events
from worker.inbox.process import InboxReport, process_due
from worker.inbox.relay import prepare_relay
from worker.messages.delivery import deliver_due
from worker.messages.outbox import enqueue_record, enqueue_send
from worker.messages.requests import RecordRequest, SendRequest
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import message, remote_contact

ANN, BEN, US = "+14155552671", "+14155552672", "+14155550100"
NAME, EMAIL, WORDS = "Annabel Quillfeather", "annabel@quillfeather.example", "Zebra crossing at nine"
KEY = base64.b64encode(b"k" * 32).decode()
OTHER_KEY = base64.b64encode(b"o" * 32).decode()


@dataclass
class Scene(World):
    """A world with a key, a subscriber, and short words for what comes in and goes out."""

    keys: str | None = KEY
    more: dict[str, Any] = field(default_factory=dict)

    def runtime(self) -> FakeRuntime:
        made = super().runtime().settings
        changes = {
            "store": Store(grant_key=self.keys),  # type: ignore[arg-type]
            "subscribers": {"shop": Subscriber(task="shop.on_text", events=("*",))},  # type: ignore[call-arg]
        }
        return FakeRuntime(self.engine, self.virtualtext, made.model_copy(update=changes | self.more))

    def texts(self, to: str, words: str, **more: Any) -> str:
        """Another service asks for a text."""
        request = SendRequest.parse({"account": "main", "to": to, "message": words} | more)
        return enqueue_send(self.runtime(), request, source="http", actor="key shop").message_id

    def records(self, to: str, words: str) -> str:
        """A carrier reports a text that another system sent."""
        values = {
            "account": "main",
            "to": to,
            "message": words,
            "carrier": "twilio",
            "carrier_message_id": f"SM{words}",
        }
        return enqueue_record(self.runtime(), RecordRequest.parse(values), source="carrier", actor="carrier").message_id

    def writes(self, sender: str, words: str) -> InboxReport:
        """A person writes to us."""
        body = {"ToNumber": US, "FromNumber": sender, "MessageBody": words, "MessageDirection": "in", "Media": []}
        body |= {"MessageID": f"in {words}"}
        with writing(self.engine) as db:
            store_events(db, [Incoming("relay", "main", orjson.dumps(body).decode(), utcnow())])
        return process_due(self.runtime(), {"relay": prepare_relay}, limit=100)

    def sends(self) -> None:
        deliver_due(self.runtime())

    def state(self, message_id: str) -> str:
        (row,) = self.rows(message, message.c.id == message_id)
        return str(row.state)

    def everything(self) -> None:
        """All that can happen with Ann, and a little with Ben."""
        self.connections["crm"] = {"consent": PropertyRule(field="sms"), "store_fields": "all"}
        self.triggers["welcome"] = CreatedTrigger(connections="crm", on="created", message="Hello {{ name }}")
        self.source.put("0", BEN, "Ben", sms="no")
        self.sync()
        self.source.put("17", "(415) 555-2671", NAME, EMAIL, sms="Yes", note=f"{NAME} likes {WORDS}")
        self.source.put("18", "12", "Cleo", note="her husband is called Ann")
        self.sync_and_push()
        self.sends()
        self.texts(ANN, f"Your order: {WORDS}")
        self.sends()
        self.records(ANN, f"From elsewhere: {WORDS}")
        self.writes(ANN, f"Thank you, {WORDS}")
        self.writes(ANN, "pls leave me alone")
        self.writes(BEN, "good morning")
        self.texts(ANN, f"Held for review: {WORDS}")
        self.sends()
        self.writes(ANN, "STOP")
        self.sends()
        self.texts(ANN, f"After the STOP: {WORDS}")
        self.texts(BEN, "Hello Ben")
        with writing(self.engine) as db:
            row = {"account": "main", "virtualtext_id": "vt9", "phone": ANN, "full_name": NAME, "email": EMAIL}
            db.execute(remote_contact.insert().values(row | {"listed_at": utcnow()}))
        fan_out(self.runtime())
        self.texts(ANN, f"Not yet delivered: {WORDS}")

    def dump(self) -> dict[str, list[dict[str, Any]]]:
        """Every row of every table."""
        with reading(self.engine) as db:
            return {
                table.name: [dict(row._mapping) for row in db.execute(select(table))]
                for table in SQLModel.metadata.sorted_tables
            }

    def traces(self) -> list[str]:
        """Where anything of Ann still is: table, column and value."""
        found = []
        for name, rows in self.dump().items():
            for row in rows:
                for column, value in row.items():
                    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
                    words = (NAME, NAME.split()[1], EMAIL, WORDS, "pls leave me alone")
                    if mentions_number(text, ANN) or any(one.casefold() in text.casefold() for one in words):
                        found.append(f"{name}.{column}: {text}")
        return found


@pytest.fixture
def scene(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Scene:
    made = Scene(engine, policy=Policy(quiet_hours="none", max_per_contact=None))
    build: Callable[..., Any] = lambda settings, name, *services: sources(**made.crm)(settings, name, *services)  # noqa: E731
    for module in ("pull", "plan"):
        monkeypatch.setattr(f"worker.contacts.{module}.build_adapter", build)
    return made

"""The sequences of docs/triggers.md, as they stand there, from a CRM's file to VirtualText, days in a moment."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import orjson
import pytest
from sqlmodel import SQLModel

from worker.contacts.plan import plan_connection
from worker.contacts.pull import sync_connection
from worker.core.clock import CLOCK
from worker.inbox.events import Incoming, store_events
from worker.inbox.process import process_due
from worker.inbox.relay import prepare_relay
from worker.messages.date_plans import fire_due_dates
from worker.messages.delivery import deliver_due
from worker.runtime import Runtime
from worker.runtime.load import load_settings
from worker.sandbox import Sandbox
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import message

TRIGGERS = (Path(__file__).parents[2] / "docs/triggers.md").read_text()
RECIPES: dict[str, str] = dict(re.findall(r"<!-- recipe: (\w+) -->\n```toml\n(.*?)```", TRIGGERS, re.DOTALL))
TICK = timedelta(hours=12)
"""The workers look this often: sooner than a text expires."""
ANN, BOB = "+13125550101", "+13125550102"
FILE = """
[accounts.main]
uid = {{ env = "VTSYNC_UID" }}
token = {{ env = "VTSYNC_TOKEN" }}
from_number = "+12025550100"
relay_secret = {{ env = "VTSYNC_RELAY_SECRET" }}
api_url = "{api}"
create_url = "{create}"

[connections.crm]
adapter = "csv"
account = "main"
default_region = "US"
options = {{ path = "{people}", settle_seconds = 0 }}

[policy]
quiet_hours = "none"

[store]
url = "sqlite:///{folder}/store.sqlite3"

{recipe}
"""


@dataclass
class Shop:
    """A file of people, a fleet of one, and a VirtualText."""

    folder: Path
    sandbox: Sandbox
    monkeypatch: pytest.MonkeyPatch
    people: dict[str, dict[str, str]] = field(default_factory=dict)

    def open(self, recipe: str) -> None:
        self.people = {
            "1": {"phone": ANN, "first_name": "Ann", "title": "the roof", "stage": "New", "appointment": ""},
            "2": {"phone": BOB, "first_name": "Bob", "title": "the door", "stage": "New", "appointment": ""},
        }
        self._write()
        path = self.folder / "vtsync.toml"
        text = FILE.format(
            api=self.sandbox.api_url, create=self.sandbox.create_url, people=self.folder / "people.csv",
            folder=self.folder, recipe=RECIPES[recipe],
        )  # fmt: skip
        path.write_text(text)
        self.runtime = Runtime(load_settings(str(path)))
        SQLModel.metadata.create_all(self.runtime.engine)
        self.sync()

    def _write(self) -> None:
        with (self.folder / "people.csv").open("w", newline="") as file:
            rows = csv.DictWriter(file, ["id", *self.people["1"]])
            rows.writeheader()
            rows.writerows({"id": key} | row for key, row in self.people.items())

    def sync(self) -> None:
        sync_connection(self.runtime, "crm")

    def change(self, person: str, **values: str) -> None:
        self.people[person] |= values
        self._write()
        self.sync()

    def later(self, **span: float) -> list[tuple[str, str]]:
        """Let time pass, and return (whom, first words) of the texts that reached phones meanwhile."""
        before, left = len(self.sandbox.messages("sent_by_platform")), timedelta(**span)
        while left:
            step = min(left, TICK)
            left -= step
            self.monkeypatch.setattr(CLOCK, "_ahead", CLOCK._ahead + step.total_seconds())
            fire_due_dates(self.runtime, utcnow())
            deliver_due(self.runtime)
        return sorted((one.to, one.text[:20]) for one in self.sandbox.messages("sent_by_platform")[before:])

    def replies(self, person: str, words: str) -> None:
        """A text of this person comes in through the Relay."""
        payload = {
            "MessageID": f"in-{utcnow().timestamp()}",
            "FromNumber": self.people[person]["phone"],
            "ToNumber": "+12025550100",
            "MessageBody": words,
            "MessageDirection": "in",
        }
        with writing(self.runtime.engine) as connection:
            store_events(connection, [Incoming("relay", "main", orjson.dumps(payload).decode(), utcnow())])
        process_due(self.runtime, {"relay": prepare_relay}, 10)

    def reasons(self) -> dict[tuple[str, str], str]:
        """(trigger, person) -> state and code."""
        with reading(self.runtime.engine) as connection:
            rows = connection.execute(message.select().order_by(message.c.id)).all()
        return {(row.trigger, row.to_number): f"{row.state} {row.reason.partition(':')[0]}".strip() for row in rows}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setattr(CLOCK, "is_due", lambda: False)  # nobody sets our clock right
    for name, value in {"UID": "sandbox", "TOKEN": "sandbox-token", "RELAY_SECRET": "relay-secret-0123456789"}.items():
        monkeypatch.setenv(f"VTSYNC_{name}", value)
    with Sandbox() as sandbox:
        yield Shop(tmp_path, sandbox, monkeypatch)


def test_the_page_has_the_recipes_that_are_tried_here() -> None:
    assert RECIPES.keys() == {"quote", "reminders", "review"}


def test_follow_ups_stop_when_the_person_answers(shop: Shop) -> None:
    shop.open("quote")
    shop.change("1", stage="Quoted")
    shop.change("2", stage="Quoted")
    assert shop.later(minutes=59) == []
    assert shop.later(minutes=2) == [(ANN, "Hi Ann, your quote f"), (BOB, "Hi Bob, your quote f")]
    shop.replies("1", "Let me think")
    assert shop.later(days=2) == [(BOB, "Hi Bob, did you have")]
    assert shop.later(days=5) == [(BOB, "Hi Bob, shall we kee")]
    assert shop.later(days=30) == []
    assert shop.reasons() == {
        ("quote_1", ANN): "accepted",
        ("quote_2", ANN): "suppressed replied",
        ("quote_3", ANN): "suppressed replied",
        ("quote_1", BOB): "accepted",
        ("quote_2", BOB): "accepted",
        ("quote_3", BOB): "accepted",
    }


def test_an_answer_before_the_first_text_stops_all_of_them(shop: Shop) -> None:
    shop.open("quote")
    shop.replies("1", "an old text")
    shop.later(seconds=1)
    shop.change("1", stage="Quoted")
    shop.later(minutes=5)
    shop.replies("1", "Got it, thanks 👍")
    assert shop.later(days=8) == []
    assert set(shop.reasons().values()) == {"suppressed replied"}


def test_follow_ups_stop_when_the_deal_moves_on(shop: Shop) -> None:
    shop.open("quote")
    shop.change("1", stage="Quoted")
    assert shop.later(hours=1, minutes=1) == [(ANN, "Hi Ann, your quote f")]
    shop.change("1", stage="Won")
    assert shop.later(days=8) == []
    assert shop.reasons()["quote_2", ANN] == shop.reasons()["quote_3", ANN] == "suppressed stop_condition"
    shop.change("1", stage="Quoted")
    assert shop.later(hours=1, minutes=1) == [(ANN, "Hi Ann, your quote f")], "a new quote is a new sequence"


def test_a_stop_is_an_opt_out_and_ends_everything(shop: Shop) -> None:
    shop.open("quote")
    shop.change("1", stage="Quoted")
    shop.later(hours=1, minutes=1)
    shop.replies("1", "STOP")
    assert shop.later(days=8) == []
    assert shop.reasons()["quote_2", ANN] == "suppressed opted_out"


def test_a_confirmed_appointment_is_not_asked_for_again(shop: Shop) -> None:
    shop.open("reminders")
    visit = (utcnow() + timedelta(days=10)).replace(microsecond=0)
    for person in shop.people:
        shop.change(person, appointment=visit.isoformat())
    assert plan_connection(shop.runtime, "crm").texts == []
    assert shop.later(days=3, minutes=1) == [(ANN, "Ann, we see you in a"), (BOB, "Bob, we see you in a")]
    shop.replies("1", "YES")
    assert shop.later(days=6) == [(BOB, "Bob, see you tomorro")]
    assert shop.reasons()["day_before", ANN] == "suppressed replied"
    following = visit + timedelta(days=40)
    shop.change("1", appointment=following.isoformat())
    assert shop.later(days=34) == [(ANN, "Ann, we see you in a")], "another date is another sequence"


def test_nobody_is_asked_how_it_was_who_is_talking_with_us(shop: Shop) -> None:
    shop.open("review")
    visit: datetime = utcnow() + timedelta(hours=2)
    for person in shop.people:
        shop.change(person, appointment=visit.isoformat())
    shop.replies("2", "I left my keys")
    assert shop.later(hours=5, minutes=1) == [(ANN, "Ann, thank you for y")]

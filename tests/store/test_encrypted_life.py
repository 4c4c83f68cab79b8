"""What people and CRMs say goes through the whole system, and is nowhere in clear in an encrypted database."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, MetaData, create_engine, select, text

from config.integrations import Subscriber
from config.models import Account, Connection, Policy, Settings
from config.triggers import ChangedTrigger, CreatedTrigger
from tests.conftest import STORE_KEY, postgres_schema, sqlite_file
from tests.contacts.conftest import FakeRuntime
from tests.fakes import FakeVirtualText, unknown
from tests.inbox.conftest import Inbox, echo, inbound
from tests.messages.conftest import number
from worker.contacts.pull import sync_connection
from worker.contacts.push import push_account
from worker.core.clock import utcnow
from worker.core.content_cipher import ContentCipher
from worker.deliveries.fan_out import fan_out
from worker.deliveries.run import run_deliveries
from worker.inbox.events import Incoming, store_events
from worker.inbox.relay import relay_numbers
from worker.messages.delivery import deliver_due
from worker.store import content
from worker.store.db import open_engine, reading, writing
from worker.store.tables import contact_mapping, inbound_message, message
from worker.virtualtext.outcomes import Cause, Outcome, Status

ADA, BOB, EVE = number(1), number(2), number(3)
NEW_KEY = base64.b64encode(bytes(range(50, 82))).decode()
WORDS = {
    "name": "Zoecanary",
    "email": "mail.canary@example.com",
    "property": "Citycanary",
    "text of a trigger": "Welcomecanary",
    "text of a job": "Jobcanary",
    "picture": "https://example.com/picturecanary.png",
    "record of a text": "Recordcanary",
    "reply": "Replycanary",
    "stop with more words": "Stopcanary",
    "phone that is none": "Nophonecanary",
    "what VirtualText repeats": "Repeatcanary",
}
SHOP = Subscriber(url="http://127.0.0.1:9/hook", secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", events=("*",))


@dataclass
class Life(Inbox):
    """A CRM, a subscriber that is down, and VirtualText around a store."""

    crm: Engine

    def restart(self, cipher: ContentCipher | None) -> None:
        url = self.engine.url.render_as_string(hide_password=False)
        self.engine.dispose()
        self.runtime = FakeRuntime(open_engine(url, cipher=cipher), self.runtime.fake, self.runtime.settings)  # type: ignore[assignment]

    def put(self, id_: int, name: str, phone: str, email: str, city: str) -> None:
        values = {"id": id_, "name": name, "phone": phone, "email": email, "city": city}
        with self.crm.begin() as connection:
            connection.execute(text("DELETE FROM people WHERE id = :id"), values)
            connection.execute(text("INSERT INTO people VALUES (:id, :name, :phone, :email, :city)"), values)

    def sync(self) -> Any:
        report = sync_connection(self.runtime, "people")
        assert report.state == "done", report
        return report

    def hears(self, payload: dict[str, Any]) -> None:
        event = Incoming("relay", "main", orjson.dumps(payload).decode(), utcnow(), relay_numbers(payload))
        with writing(self.engine) as connection:
            store_events(connection, [event])
        self.process()

    def delivers(self) -> None:
        while fan_out(self.runtime):
            pass
        run_deliveries(self.runtime, 1000)

    def first_half(self) -> str:
        """People, texts, and one text of which nobody knows whether it went out. Return its id."""
        w = WORDS
        self.put(1, "Adacanary", ADA, w["email"], w["property"])
        self.sync()
        self.put(2, w["name"], BOB, "", w["property"])
        self.put(3, w["name"], w["phone that is none"], "", "")
        self.put(1, "Adacanary", ADA, w["email"], w["property"] + "2")
        self.sync()
        push_account(self.runtime, "main")
        assert deliver_due(self.runtime).accepted == 2, self.rows(message)
        self.send(ADA, w["text of a job"], media=[w["picture"]])
        assert deliver_due(self.runtime).accepted == 1
        self.virtual.fault("send", unknown(Cause.TIMEOUT), applied=True)
        lost = self.send(EVE, w["text of a job"])
        assert deliver_due(self.runtime).unknown == 1
        self.record("s1", ADA, w["record of a text"])
        return lost

    def second_half(self, lost: str) -> None:
        """The echo of the lost text, a repeated text, replies, an opt-out, a refusal, deliveries."""
        w = WORDS
        assert self.enqueue(ADA, w["text of a job"], media=[w["picture"]]).state == "suppressed"
        self.hears(echo(w["text of a job"], "out9", EVE))
        assert self.state(lost) == "confirmed"
        self.hears(inbound(w["reply"], "in1", FromNumber=ADA))
        self.hears(inbound(f"please do not text me again, {w['stop with more words']}", "in2", FromNumber=BOB))
        self.hears(inbound("STOP", "in3", FromNumber=ADA))
        repeats: Outcome[Any] = Outcome(Status.NOT_DONE, cause=Cause.REJECTED, detail=w["what VirtualText repeats"])
        self.virtual.fault("send", repeats)
        self.send(number(4), "Another text")
        assert deliver_due(self.runtime).rejected == 1
        assert self.sync().unchanged == 3
        self.delivers()

    @property
    def virtual(self) -> FakeVirtualText:
        found: FakeVirtualText = self.runtime.fake
        return found

    def rows_in_clear(self) -> str:
        """Every value of every table, as the database has it."""
        tables = MetaData()
        with self.engine.connect() as connection:
            tables.reflect(connection)
            assert {"message", "contact_mapping", "forward"} <= set(tables.tables)
            return repr([tuple(row) for table in tables.sorted_tables for row in connection.execute(select(table))])

    def read(self) -> str:
        """The same, as the program reads it."""
        with reading(self.engine) as connection:
            return repr([list(connection.execute(select(one))) for one in (message, contact_mapping, inbound_message)])


def leaked(found: str) -> set[str]:
    return {what for what, word in WORDS.items() if word in found} | (
        {"another name"} if "Adacanary" in found else set()
    )


def begin(engine: Engine, folder: Path) -> Life:
    crm = create_engine(f"sqlite:///{folder / 'crm.sqlite3'}")
    with crm.begin() as connection:
        connection.execute(
            text("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, mobile TEXT, email TEXT, city TEXT)")
        )
    greeting = f"{WORDS['text of a trigger']} {{{{ name }}}} of {{{{ city }}}}"
    settings = Settings(
        accounts={"main": Account(uid="u", token="t", from_number="+14155550100", lookup_after=timedelta(0))},
        policy=Policy(quiet_hours="none"),
        connections={
            "people": Connection(
                adapter="sql",
                account="main",
                default_region="US",
                options={"url": f"sqlite:///{folder / 'crm.sqlite3'}", "table": "people"},
            )
        },
        triggers={
            "welcome": CreatedTrigger(connections="people", on="created", message=greeting),
            "moved": ChangedTrigger(connections="people", on="changed", field="city", message=greeting),
        },
        subscribers={"shop": SHOP},
    )
    virtual = FakeVirtualText()
    return Life(FakeRuntime(engine, virtual, settings), virtual, crm)  # type: ignore[arg-type]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def life(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Life]:
    opened = sqlite_file(tmp_path / "store.sqlite3") if request.param == "sqlite" else postgres_schema()
    with opened as engine:
        made = begin(engine, tmp_path)
        yield made
        made.engine.dispose()
        made.crm.dispose()


def test_no_content_is_in_clear_and_all_works_also_after_a_rotation(life: Life) -> None:
    life.restart(ContentCipher(STORE_KEY))
    lost = life.first_half()
    life.restart(ContentCipher(f"{NEW_KEY},{STORE_KEY}"))
    life.second_half(lost)
    for _ in content.rewrite_content(life.engine):
        pass
    life.restart(ContentCipher(NEW_KEY))
    assert life.sync().unchanged == 3
    assert leaked(life.rows_in_clear()) == set()
    assert leaked(life.read()) >= {"name", "property", "text of a trigger", "text of a job", "reply", "picture"}


def test_switched_on_later_nothing_of_before_remains_not_even_in_the_file(life: Life, tmp_path: Path) -> None:
    lost = life.first_half()
    assert leaked(life.rows_in_clear()) >= {"name", "email", "property", "text of a trigger", "text of a job"}
    life.restart(ContentCipher(STORE_KEY))
    life.second_half(lost)  # while rows are stored in both ways
    for _ in content.rewrite_content(life.engine):
        pass
    content.vacuum(life.engine)
    assert leaked(life.rows_in_clear()) == set()
    assert life.sync().unchanged == 3
    if life.engine.dialect.name == "sqlite":
        life.engine.dispose()
        files = [one.read_bytes() for one in tmp_path.glob("store.sqlite3*")]
        assert leaked(b"".join(files).decode(errors="replace")) == set()


def test_switched_off_again_all_works_and_no_key_is_needed(life: Life) -> None:
    life.restart(ContentCipher(STORE_KEY))
    lost = life.first_half()
    life.restart(ContentCipher(STORE_KEY, seals=False))
    life.second_half(lost)
    for _ in content.rewrite_content(life.engine):
        pass
    life.restart(None)
    assert life.sync().unchanged == 3
    assert leaked(life.read()) >= {"name", "property", "text of a trigger", "text of a job", "reply"}

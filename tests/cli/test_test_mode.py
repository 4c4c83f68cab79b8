"""A whole scenario in test mode, through every entrance: VirtualText hears of the listed number alone."""

from __future__ import annotations

import json
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from tests.cli.conftest import Shell
from tests.deliveries.conftest import SECRET, Receiver, receiver
from worker import tasks
from worker.contacts.push import push_account
from worker.core.states import MessageKind
from worker.deliveries.fan_out import fan_out
from worker.deliveries.run import run_deliveries
from worker.messages.date_plans import fire_due_dates
from worker.messages.delivery import deliver_due
from worker.messages.recording import record_due
from worker.runtime import Runtime, open_runtime
from worker.sandbox import Sandbox
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import message
from worker.virtualtext.client import VirtualTextClient
from worker.web.app import create_app
from worker.web.keys import create_key

__all__ = ["receiver"]

ME, ANN, BOB = "+14155552671", "+14155552672", "+14155552673"
EVERYBODY = (ME, ANN, BOB)


def configuration(folder: Path, webhook: str, mode: str) -> str:
    crm = folder / "crm.sqlite3"
    return f"""
mode = "{mode}"
test_numbers = ["{ME}"]
[connections.crm]
adapter = "sql"
account = "main"
default_region = "US"
log_messages = true
report_opt_outs = true
do_not_text = {{ field = "dnt" }}
options = {{ url = "sqlite:///{crm}", table = "people", log_table = "texts" }}
[triggers.welcome]
connections = "crm"
on = "created"
message = "Welcome {{{{ name }}}}"
[triggers.ready]
connections = "crm"
on = "changed"
field = "status"
to = "ready"
message = "{{{{ name }}}}, your order is ready"
[triggers.visit]
connections = "crm"
on = "date"
field = "visit"
offset = "-1h"
message = "{{{{ name }}}}, see you soon"
[subscribers.shop]
url = "{webhook}"
secret = {{ env = "SHOP_SECRET" }}
events = ["*"]
[policy]
quiet_hours = "none"
max_per_contact = 50
"""


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_SECRET", SECRET)


def people(folder: Path, *rows: tuple[Any, ...]) -> None:
    with sqlite3.connect(folder / "crm.sqlite3") as crm:
        crm.execute("CREATE TABLE IF NOT EXISTS people (id INTEGER PRIMARY KEY, name, mobile, status, visit, dnt)")
        crm.execute(
            "CREATE TABLE IF NOT EXISTS texts (message_id TEXT UNIQUE, record_id INTEGER, direction TEXT,"
            " sent_at TEXT, text TEXT, media TEXT, from_number TEXT, to_number TEXT)"
        )
        crm.executemany("INSERT OR REPLACE INTO people VALUES (?, ?, ?, ?, ?, 'no')", rows)
    crm.close()


def work(runtime: Runtime) -> None:
    """What the workers would do, until nothing is left."""
    deliver_due(runtime)
    record_due(runtime)
    while fan_out(runtime):
        pass
    run_deliveries(runtime, 10_000)


def scenario(shell: Shell) -> Runtime:
    """Sync with pushes, triggers, date plans, jobs by command, task and HTTP, records."""
    visit = (utcnow() + timedelta(hours=3)).isoformat()
    people(shell.folder, (1, "Me", ME, "new", "", ), (2, "Ann", ANN, "new", ""))  # fmt: skip
    shell("sync")
    people(shell.folder, (1, "Me", ME, "ready", visit), (2, "Ann", ANN, "ready", visit), (3, "Bob", BOB, "new", visit))
    shell("sync")
    runtime = open_runtime()
    assert fire_due_dates(runtime, utcnow() + timedelta(hours=2, minutes=30)) == 3
    for number in EVERYBODY:
        shell("send", "--to", number, "--message", f"by command to {number}")
        shell("record", "--to", number, "--message", "sent elsewhere", "--carrier", "x", "--carrier-message-id", number)
        values = {"account": "main", "to": number, "message": f"by task to {number}"}
        answer = tasks.send_message.apply(kwargs=values).result
        assert answer["ok"]
        assert answer["test"] is (runtime.only_numbers("main") is not None and number != ME)
    with writing(runtime.engine) as db:
        key = create_key(db, "shop", ["messages:write", "records:write"], (), created_by="test", now=utcnow())
    with TestClient(create_app(runtime), headers={"Authorization": f"Bearer {key}"}) as http:
        for number in EVERYBODY:
            body = {"to": number, "message": f"by HTTP to {number}"}
            assert http.post("/v1/messages", json=body).status_code == 202
            record = {"to": number, "message": "y", "carrier": "y", "carrier_message_id": number}
            assert http.post("/v1/records", json=record).status_code == 202
    with writing(runtime.engine) as db:  # the visit has come
        db.execute(message.update().where(message.c.trigger == "visit").values(due_at=utcnow()))
    work(runtime)
    return runtime


def written(sandbox: Sandbox) -> set[str]:
    """The numbers about which VirtualText was told anything."""
    requests = [one for one in sandbox.requests() if one.method != "GET"]
    return {str((one.fields or {}).get("to") or (one.fields or {}).get("phoneNumber")) for one in requests}


def states(runtime: Runtime, number: str) -> dict[str, int]:
    with reading(runtime.engine) as db:
        rows = db.execute(select(message.c.state).where(message.c.to_number == number)).scalars().all()
    return {str(state): rows.count(state) for state in rows}


def logged(folder: Path) -> set[str]:
    with sqlite3.connect(folder / "crm.sqlite3") as crm:
        found = {row[0] for row in crm.execute("SELECT to_number FROM texts")}
    crm.close()
    return found


def test_nothing_leaves_but_to_the_listed_number(shell: Shell, receiver: Receiver) -> None:
    shell.configure(configuration(shell.folder, receiver.url, "test"))
    runtime = scenario(shell)
    assert written(shell.sandbox) == {ME}
    assert logged(shell.folder) == {ME}
    assert states(runtime, ME) == {"accepted": 7}
    assert states(runtime, ANN) == {"simulated": 7}
    assert states(runtime, BOB) == {"simulated": 7}  # its welcome instead of "ready"
    heard = {(one["type"], one["data"]["phone"] == ME, one["data"]["test"]) for one in receiver.heard}
    assert heard == {
        ("message.sent", True, False),
        ("message.recorded", True, False),
        ("message.simulated", False, True),
    }


def test_the_same_scenario_reaches_everybody_once_the_account_is_live(shell: Shell, receiver: Receiver) -> None:
    shell.configure(configuration(shell.folder, receiver.url, "live"))
    runtime = scenario(shell)
    assert written(shell.sandbox) == set(EVERYBODY)
    assert logged(shell.folder) == set(EVERYBODY)
    assert [states(runtime, number) for number in EVERYBODY] == [{"accepted": 7}] * 3


def test_going_live_writes_the_contacts_and_sends_nothing_that_was_simulated(
    shell: Shell, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker.runtime import current

    shell.configure(configuration(shell.folder, receiver.url, "test"))
    people(shell.folder, (2, "Ann", ANN, "new", ""))
    shell("sync")
    people(shell.folder, (2, "Ann", ANN, "ready", ""))
    shell("sync")
    assert written(shell.sandbox) == set()
    shell.configure(configuration(shell.folder, receiver.url, "live"))
    monkeypatch.setattr(current, "_runtimes", {})
    shell("sync", "--full")
    sent = [one for one in shell.sandbox.requests() if one.path == "/api/send"]
    assert (written(shell.sandbox), sent) == ({ANN}, [])
    (text,) = shell.json("messages", "--number", ANN)
    assert (text["state"], text["kind"]) == ("simulated", MessageKind.SEND)


def test_a_switch_to_test_mode_ends_a_push_that_is_running(
    shell: Shell, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.configure(configuration(shell.folder, receiver.url, "live"))
    people(shell.folder, *((n, f"Person {n}", f"+14155553{n:03}", "new", "") for n in range(100, 140)))
    shell("sync", "--no-push")
    runtime = open_runtime()
    account = runtime.settings.accounts["main"].model_copy(update={"concurrency": 1})
    runtime = runtime.but(settings=runtime.settings.model_copy(update={"accounts": {"main": account}}))
    create, made = VirtualTextClient.create_contact, []

    def create_and_switch(client: VirtualTextClient, contact: Any) -> Any:
        made.append(contact.phone)
        if len(made) == 5:
            switched = {"main": account.model_copy(update={"mode": "test"})}
            runtime.but(settings=runtime.settings.model_copy(update={"accounts": switched}))
        return create(client, contact)

    monkeypatch.setattr(VirtualTextClient, "create_contact", create_and_switch)
    report = push_account(runtime, "main")
    assert written(shell.sandbox) == set(made[:5])
    assert (report.created, report.rejected, report.unknown) == (5, 0, 0)
    assert shell.json("status")["accounts"][0]["contacts"] == {"synced": 5, "due": 35}


def test_every_surface_says_that_the_account_is_in_test_mode(shell: Shell, receiver: Receiver) -> None:
    shell.configure(configuration(shell.folder, receiver.url, "test"))
    people(shell.folder, (2, "Ann", ANN, "new", ""))
    for command in ("plan", "sync", "status", "check"):
        shown = " ".join(shell(command).stdout.split())
        assert "TEST MODE" in shown, command
        assert "account main writes nothing to VirtualText, except about 1 number" in shown, command
    assert shell.json("status")["accounts"][0]["mode"] == "test"
    assert "a text is simulated: the account is in test mode" in " ".join(shell("explain", ANN).stdout.split())
    sent = shell("send", "--to", ANN, "--message", "hello").stdout
    assert "simulated" in sent
    assert "the account is in test mode" in " ".join(sent.split())
    runtime = open_runtime()
    with writing(runtime.engine) as db:
        key = create_key(db, "shop", ["metrics:read"], (), created_by="test", now=utcnow())
    with TestClient(create_app(runtime), headers={"Authorization": f"Bearer {key}"}) as http:
        assert 'vtsync_account_test_mode{account="main"} 1.0' in http.get("/metrics").text
        assert "TEST MODE" in json.dumps(http.get("/health/fleet").json())

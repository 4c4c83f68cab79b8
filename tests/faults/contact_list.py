"""What must hold whatever the platform's contact list answers, with real processes.

The list is an optimisation. Each scenario returns its figures, and raises AssertionError when a promise is broken.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import NullPool, create_engine, text

from tests.faults.crowd import Figures, number, write_export
from tests.faults.scenarios import told
from tests.harness import Fleet, until
from worker.contacts.list_answer import LIST_TRIES

CONFIGURATION = """
[connections.crm]
adapter = "csv"
account = "main"
schedule = "2s"
options = { path = "crm.csv", settle_seconds = 0 }
"""
DAY = "86400"
ANSWERS: dict[str, dict[str, Any]] = {
    "400, must be admin": {"action": "answer", "status": 400, "message": "You must be admin to do this"},
    "401": {"action": "answer", "status": 401},
    "403": {"action": "answer", "status": 403},
    "404": {"action": "answer", "status": 404},
    "429 for a day": {"action": "answer", "status": 429, "headers": {"Retry-After": DAY}},
    "500": {"action": "answer", "status": 500},
    "504": {"action": "answer", "status": 504},
    "a cut body": {"action": "truncate"},
    "no JSON": {"action": "garbage"},
    "broken JSON": {"action": "answer", "status": 200, "body": '{"contacts": [{"id": '},
    "a body too large": {"action": "huge"},
    "no answer in time": {"action": "delay", "delay_ms": 4000},
    "a dropped connection": {"action": "drop"},
}
"""The faults of the list, as the sandbox knows them."""


def failing_list(fleet: Fleet, fault: dict[str, Any], contacts: int) -> Figures:
    """The list answers with a fault each time, and everything else works. ``contacts`` people are new in the CRM."""
    fleet.configure(CONFIGURATION, connect_timeout=5.0, read_timeout=2.0)
    assert fleet.run("migrate").exit_code == 0
    linked = fleet.run("link", "main", "--without-list")
    assert linked.exit_code == 0, linked.output
    write_export(fleet.folder / "crm.csv", 0, contacts)
    fleet.sandbox.add_fault(endpoint="list", **fault)
    fleet.start("worker")
    fleet.start("beat")
    for tries in range(1, LIST_TRIES):
        until(f"try {tries} of the list", lambda tries=tries: _failures(fleet) >= tries, 60)
        assert told(fleet) == 0, "contacts were created before the list was given up"
        _half_a_minute_passes(fleet)
    until("all contacts", lambda: told(fleet) >= contacts or _lift_pause(fleet), 60 + contacts / 50)
    until("the store to know it", lambda: _in_state(fleet, "synced") == contacts, 60)
    sent = fleet.run("send", "--to", number(0), "-m", "hello", "--json")
    assert sent.exit_code == 0, sent.output
    status = _status(fleet)
    assert "VirtualText's contact list cannot be read" in status
    assert "stopped" not in status
    fleet.end()
    created = Counter(contact["phoneNumber"] for contact in fleet.sandbox.contacts())
    assert len(created) == contacts
    assert created.total() == contacts, "a contact is there twice"
    assert len(fleet.sandbox.messages("sent_by_platform")) == 1
    return {
        "contacts created": len(created),
        "there twice": created.total() - len(created),
        "tries of the list": sum(fleet.sandbox.counts().get("list", {}).values()),
    }


def first_link_up(fleet: Fleet, contacts: int, decision: str) -> Figures:
    """VirtualText has half of the people already and cannot list them; ``decision``: what a person does."""
    fleet.configure(CONFIGURATION, connect_timeout=5.0, read_timeout=2.0)
    assert fleet.run("migrate").exit_code == 0
    there = [(number(n), "", "") for n in range(0, contacts, 2)]
    fleet.sandbox.seed_contacts(there)
    fleet.sandbox.behaviour.list_timeout = True
    write_export(fleet.folder / "crm.csv", 0, contacts)
    fleet.start("worker")
    fleet.start("beat")
    until("the question", lambda: "waiting for the first link-up" in _status(fleet), 60)
    assert told(fleet) == len(there), "contacts were created although nobody knows which are there already"
    sent = fleet.run("send", "--to", number(0), "-m", "hello", "--json")
    assert sent.exit_code == 0, sent.output  # a text does not need the contact
    answer = _answer(fleet, decision)
    expected = contacts + (len(there) if decision == "without list" else 0)
    until("all contacts", lambda: told(fleet) >= expected, 60 + contacts / 50)
    until("the store to know it", lambda: _in_state(fleet, "synced") == contacts, 60)
    fleet.end()
    phones = Counter(contact["phoneNumber"] for contact in fleet.sandbox.contacts())
    assert len(phones) == contacts
    assert phones.total() == expected
    wanted = {number(n): f"Person {n}" for n in range(contacts)}
    if decision != "without list":
        assert {one["phoneNumber"]: one["fullName"] for one in fleet.sandbox.contacts()} == wanted
    ((how, by),) = fleet.query("SELECT linked_how, linked_by FROM account_state")
    assert (how, bool(by)) == ("file" if decision == "file" else decision, True)
    return {
        "in VirtualText before": len(there),
        "adopted": fleet.query("SELECT count(*) FROM contact_event WHERE kind = 'adopted'")[0][0],
        "there twice": phones.total() - len(phones),
        "said": answer.splitlines()[0],
    }


def outage(fleet: Fleet, contacts: int, seconds: float) -> Figures:
    """Nothing of the platform answers: nothing is created, and the list is not given up. Then it works again."""
    fleet.configure(CONFIGURATION, connect_timeout=5.0, read_timeout=2.0)
    assert fleet.run("migrate").exit_code == 0
    assert fleet.run("link", "main", "--without-list").exit_code == 0
    write_export(fleet.folder / "crm.csv", 0, contacts)
    fleet.sandbox.add_fault(action="answer", status=502)
    fleet.start("worker")
    fleet.start("beat")
    for tries in range(1, LIST_TRIES + 2):
        until(f"try {tries} of the list", lambda tries=tries: _failures(fleet) >= tries, 60)
        _half_a_minute_passes(fleet)
    assert (told(fleet), fleet.sandbox.counts().get("create")) == (0, None)
    assert fleet.query("SELECT list_unavailable_at FROM account_state")[0][0] is None
    fleet.sandbox.remove_faults()
    _half_a_minute_passes(fleet)
    until("all contacts", lambda: _in_state(fleet, "synced") == contacts, seconds)
    fleet.end()
    created = Counter(contact["phoneNumber"] for contact in fleet.sandbox.contacts())
    assert created.total() == len(created) == contacts
    return {"contacts created": contacts, "tries in the outage": LIST_TRIES + 1}


def _answer(fleet: Fleet, decision: str) -> str:
    """Do what a person does who was asked how the account is to be linked."""
    options = ["--without-list"]
    if decision == "file":
        rows = [f"{one['id']},{one['phoneNumber']}\n" for one in fleet.sandbox.contacts()]
        (fleet.folder / "virtualtext.csv").write_text("id,phone\n" + "".join(rows), encoding="utf-8")
        options = ["--from", str(fleet.folder / "virtualtext.csv")]
    done = fleet.run("link", "main", *options)
    assert done.exit_code == 0, done.output
    return done.stdout


def _status(fleet: Fleet) -> str:
    """Return what `vtsync status` prints, without line breaks."""
    return " ".join(fleet.run("status").stdout.split())


def _failures(fleet: Fleet) -> int:
    _lift_pause(fleet)
    rows = fleet.query("SELECT list_failures FROM account_state")
    return int(rows[0][0]) if rows else 0


def _lift_pause(fleet: Fleet) -> bool:
    """Do what a person does who sees that VirtualText asked to wait for a day. Return False."""
    if fleet.query("SELECT 1 FROM account_state WHERE pause_reason LIKE '%asked to wait%'"):
        assert "asked to wait for a day or longer" in _status(fleet)
        fleet.run("check")
    return False


def _half_a_minute_passes(fleet: Fleet) -> None:
    """End the wait for the next try of the list."""
    url = fleet.store or f"sqlite:///{fleet.folder / 'data' / 'vtsync.sqlite3'}"
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        past = "UPDATE account_state SET list_lease_until = '2026-01-01 00:00:00+00:00'"
        connection.execute(text(f"{past} WHERE list_lease_until IS NOT NULL"))
    engine.dispose()


def _in_state(fleet: Fleet, state: str) -> int:
    rows = fleet.query("SELECT count(*) FROM contact WHERE push_state = :state", state=state)
    return int(rows[0][0]) if rows else 0

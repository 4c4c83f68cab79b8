"""A platform that fails or misleads in its answers about contacts, while it cannot list them (408)."""

from __future__ import annotations

import time
from collections import Counter

from tests.faults.crowd import Figures, number, write_export
from tests.faults.scenarios import PATIENT, since
from tests.harness import Fleet, until

CONFIGURATION = """
[connections.crm]
adapter = "csv"
account = "main"
schedule = "1s"
options = { path = "crm.csv", settle_seconds = 0 }
"""
BY_ID = ("update", "get")


def random_502s(fleet: Fleet, contacts: int, rounds: int = 3, share: float = 0.3) -> Figures:
    """Requests by id are answered with 502 by chance. Everybody is renamed, several times."""
    linked(fleet, contacts)
    for endpoint in BY_ID:
        fleet.sandbox.add_fault(endpoint=endpoint, action="answer", status=502, probability=share)
    began = time.monotonic()
    for turn in range(rounds):
        write_export(fleet.folder / "crm.csv", 0, contacts, f"Name{turn}")
        settled(fleet, f"Name{turn}", contacts)
    return {"seconds": since(began), "answered with 502": len(fleet.sandbox.injections())} | outcome(fleet, contacts)


def deleted_contacts(fleet: Fleet, contacts: int, gone: int) -> Figures:
    """People delete contacts in VirtualText, and then everybody is renamed in the CRM."""
    linked(fleet, contacts, 'recreate_after = "3s"')
    old = {one["phoneNumber"]: one["id"] for one in fleet.sandbox.contacts()}
    for index in range(gone):
        fleet.sandbox.delete_contact(old[number(index)])
    began = time.monotonic()
    write_export(fleet.folder / "crm.csv", 0, contacts, "Renamed")
    settled(fleet, "Renamed", contacts)
    figures = outcome(fleet, contacts)
    created = sum(old[one["phoneNumber"]] != one["id"] for one in fleet.sandbox.contacts())
    return {"seconds": since(began), "created again": created} | figures


def outage_by_id(fleet: Fleet, contacts: int) -> Figures:
    """All requests by id are answered with 502, longer than an id is checked. Creates and /health are served."""
    linked(fleet, contacts, 'recreate_after = "1s"')
    numbers = [fleet.sandbox.add_fault(endpoint=endpoint, action="answer", status=502) for endpoint in BY_ID]
    began = time.monotonic()
    write_export(fleet.folder / "crm.csv", 0, contacts, "Renamed")
    attempts = "SELECT count(*) FROM contact WHERE attempts >= 4 AND full_name LIKE 'Renamed%'"
    until("four attempts or a decision for everybody", lambda: fleet.query(attempts)[0][0] >= contacts, 120)
    during = fleet.sandbox.state.count_contacts("sandbox") - contacts
    for one in numbers:
        fleet.sandbox.remove_faults(one)
    settled(fleet, "Renamed", contacts)
    return {"seconds": since(began), "created during the outage": during} | outcome(fleet, contacts)


def existing_contacts(fleet: Fleet, contacts: int, existing: int) -> Figures:
    """The CRM has people whom VirtualText has already, by other names, and it answers creates with these contacts."""
    linked(fleet, 1)
    fleet.sandbox.behaviour.create_existing = True
    fleet.sandbox.seed_contacts((number(index), f"Old {index}", "") for index in range(1, existing + 1))
    began = time.monotonic()
    write_export(fleet.folder / "crm.csv", 0, contacts, "Person")
    settled(fleet, "Person", contacts)
    return {"seconds": since(began)} | outcome(fleet, contacts)


def linked(fleet: Fleet, contacts: int, account: str = "") -> None:
    """So many contacts are in VirtualText; then its list answers 408, and a worker and a scheduler run."""
    fleet.configure(CONFIGURATION, account=account, **PATIENT)
    write_export(fleet.folder / "crm.csv", 0, contacts, "Person")
    for command in ("migrate", "sync"):
        done = fleet.process(command)
        assert done.returncode == 0, done.stderr
    assert fleet.sandbox.state.count_contacts("sandbox") == contacts
    fleet.sandbox.behaviour.list_timeout = True
    fleet.start("worker")
    fleet.start("beat")


def settled(fleet: Fleet, word: str, contacts: int) -> None:
    """Wait until every contact of this name is synced, or waits for a person."""
    ended = (
        "SELECT count(*) FROM contact WHERE push_state IN ('synced', 'unknown', 'rejected') AND full_name LIKE :name"
    )
    until(f"everybody to be {word}", lambda: fleet.query(ended, name=f"{word}%")[0][0] == contacts, 150)


def outcome(fleet: Fleet, contacts: int) -> Figures:
    """What an operator has to do, and what VirtualText has."""
    states = Counter(dict(map(tuple, fleet.query("SELECT push_state, count(*) FROM contact GROUP BY push_state"))))
    wanted = dict(fleet.query("SELECT phone, full_name FROM contact"))
    there = fleet.sandbox.contacts()
    phones = Counter(one["phoneNumber"] for one in there)
    return {
        "contacts": contacts,
        "waiting for a person": contacts - states["synced"],
        "missing in VirtualText": contacts - len(phones),
        "in VirtualText twice": sum(count > 1 for count in phones.values()),
        "with another name in VirtualText": sum(one["fullName"] != wanted[one["phoneNumber"]] for one in there),
    }

"""What must hold whatever goes wrong, with real processes. The tests run these small, ``bench/survival.py`` in full.

Each scenario raises AssertionError when a promise is broken, and returns its figures.
"""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.fleet import Fleet, until

AREAS = ("212", "312", "415", "503", "617", "702", "808", "917")
Figures = dict[str, object]

CONNECTIONS = """
[connections.crm]
adapter = "csv"
account = "main"
{schedule}
options = {{ path = "crm.csv", settle_seconds = 0 }}

[connections.people]
adapter = "csv"
account = "main"
{schedule}
options = {{ path = "people.csv", settle_seconds = 0 }}

[triggers.welcome]
connections = "people"
on = "created"
message = "Hi {{{{ name }}}}, welcome!"

[policy]
blast_limit = 100000
"""


def number(index: int) -> str:
    """The n-th of 80,000 valid numbers."""
    return f"+1{AREAS[index % len(AREAS)]}555{index // len(AREAS):04d}"


def write(path: Path, start: int, count: int, word: str = "Person") -> None:
    """A whole export of ``count`` people, put in place at once."""
    part = path.with_suffix(".part")
    rows = (f"{n},{word} {n},p{n}@example.org,{number(n)}\n" for n in range(start, start + count))
    part.write_text("id,name,email,mobile\n" + "".join(rows), encoding="utf-8")
    part.replace(path)


def prepare(fleet: Fleet, schedule: str = 'schedule = "2s"') -> None:
    """Two connections; the one with the trigger has its baseline, so that new people are texted."""
    fleet.configure(CONNECTIONS.format(schedule=schedule))
    write(fleet.folder / "crm.csv", 0, 1)
    write(fleet.folder / "people.csv", 70_000, 1)
    assert fleet.run("migrate").returncode == 0
    done = fleet.run("sync")
    assert done.returncode == 0, done.stdout + done.stderr


def kill(fleet: Fleet, contacts: int, texts: int, kills: int, seed: int = 1) -> Figures:
    """``kill -9`` of the worker at random moments while contacts and texts flow."""
    rng = random.Random(seed)
    prepare(fleet)
    write(fleet.folder / "crm.csv", 0, contacts)
    write(fleet.folder / "people.csv", 70_000, 1 + texts)
    worker = fleet.start("worker")
    fleet.start("beat")
    began = time.monotonic()
    at = []
    for index in range(kills):
        # At random moments of the run: after a share of the contacts, and a moment more.
        share = contacts * (index + 0.5 + rng.uniform(-0.3, 0.3)) / (kills + 1)
        until("progress", lambda share=share: len(fleet.sandbox.contacts()) >= share or _pushed(fleet) >= share, 120)
        time.sleep(rng.uniform(0, 0.1))
        at.append(len(fleet.sandbox.contacts()))
        fleet.kill(worker)
        worker = fleet.start("worker")
    _settle(fleet, contacts, texts)
    return _verify(fleet, contacts, texts) | {
        "killed after so many contacts": at,
        "seconds": round(time.monotonic() - began, 1),
    }


def two(fleet: Fleet, contacts: int, texts: int) -> Figures:
    """Two workers, two schedulers, and two syncs of each connection at the same time."""
    prepare(fleet)
    write(fleet.folder / "crm.csv", 0, contacts)
    write(fleet.folder / "people.csv", 70_000, 1 + texts)
    began = time.monotonic()
    for command in ("worker", "worker", "beat", "beat"):
        fleet.start(command)
    service = fleet.service()
    for name in ("crm", "people") * 2:
        service.send_task("vtsync.sync_connection", kwargs={"connection": name}, ignore_result=True)
    by_hand = [_sync_in_background(fleet) for _ in range(2)]
    _settle(fleet, contacts, texts)
    assert all(process.wait(60) == 0 for process in by_hand)
    return _verify(fleet, contacts, texts) | {"seconds": round(time.monotonic() - began, 1)}


def dropped_answers(fleet: Fleet, contacts: int, texts: int, share: float = 0.05) -> Figures:
    """VirtualText carries out the request and the answer is lost."""
    prepare(fleet)
    for endpoint in ("create", "update", "send"):
        fleet.sandbox.add_fault(endpoint=endpoint, action="drop", when="after", probability=share)
    write(fleet.folder / "crm.csv", 0, contacts)
    write(fleet.folder / "people.csv", 70_000, 1 + texts)
    fleet.start("worker")
    fleet.start("beat")
    _settle(fleet, contacts, texts)
    write(fleet.folder / "crm.csv", 0, contacts, word="Renamed")
    until("the renamed contacts", lambda: _synced_as(fleet, "Renamed") == contacts, 240)
    fleet.sandbox.remove_faults()
    _settle(fleet, contacts, texts)
    lost = Counter(injection.endpoint for injection in fleet.sandbox.injections() if injection.written)
    figures = _verify(fleet, contacts, texts)
    assert figures["unknown texts"] == lost["send"], (figures, lost)
    return figures | {f"answers lost to {endpoint}": lost[endpoint] for endpoint in ("create", "update", "send")}


def warm_stop(fleet: Fleet, contacts: int) -> Figures:
    """SIGTERM in the middle of a sync: what is on the wire ends, what is claimed is given back."""
    prepare(fleet)
    fleet.sandbox.add_fault(endpoint="create", action="delay", delay_ms=100)
    write(fleet.folder / "crm.csv", 0, contacts)
    worker = fleet.start("worker")
    beat = fleet.start("beat")
    until("the first contacts", lambda: len(fleet.sandbox.contacts()) >= 20)
    for process in (beat, worker):
        process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert (worker.wait(30), beat.wait(30)) == (0, 0)
    stopped_in = time.monotonic() - began
    for table in ("contact", "message", "connection_state"):
        held = fleet.query(f"SELECT count(*) FROM {table} WHERE lease_owner IS NOT NULL")[0][0]
        assert held == 0, f"{held} rows of {table} are still claimed"
    told = len(fleet.sandbox.contacts())
    unknown = fleet.query("SELECT count(*) FROM contact WHERE push_state = 'unknown'")[0][0]
    assert unknown == 0
    fleet.sandbox.remove_faults()
    fleet.start("worker")
    fleet.start("beat")
    _settle(fleet, contacts, 0)
    return _verify(fleet, contacts, 0) | {"contacts at the stop": told, "stopped in seconds": round(stopped_in, 1)}


def _settle(fleet: Fleet, contacts: int, texts: int) -> None:
    """Wait until everything is told, and every text has ended one way or the other."""
    until("all contacts to be pushed", lambda: _pushed(fleet) == contacts + texts + 1, 300)
    until("all texts to end", lambda: (s := fleet.states())["accepted"] + s["unknown"] == texts, 120)


def _pushed(fleet: Fleet) -> int:
    rows = fleet.query("SELECT count(*) FROM contact WHERE push_state = 'synced'")
    return int(rows[0][0]) if rows else 0


def _synced_as(fleet: Fleet, word: str) -> int:
    rows = fleet.query(
        "SELECT count(*) FROM contact WHERE push_state = 'synced' AND full_name LIKE :word", word=f"{word} %"
    )
    return int(rows[0][0]) if rows else 0


def _verify(fleet: Fleet, contacts: int, texts: int) -> Figures:
    """Every contact exact, none twice; every person texted once or listed as unknown; nothing left to do."""
    there = Counter(contact["phoneNumber"] for contact in fleet.sandbox.contacts())
    wanted = {number(n) for n in range(contacts)} | {number(70_000 + n) for n in range(texts + 1)}
    twice = sorted(phone for phone, count in there.items() if count > 1)
    assert twice == [], f"{len(twice)} phones are there twice: {twice[:5]}"
    assert set(there) == wanted, f"missing {len(wanted - set(there))}, too many {len(set(there) - wanted)}"
    texted = Counter(message.to for message in fleet.sandbox.messages("sent_by_platform"))
    assert all(count == 1 for count in texted.values()), "a person was texted twice"
    listed = fleet.json("messages", "--state", "unknown", "--limit", "100000")
    assert all("vtsync resolve" in message["reason"] for message in listed)
    unknown = {message["to_number"] for message in listed}
    new_people = {number(70_001 + n) for n in range(texts)}
    assert set(texted) | unknown >= new_people, "somebody was neither texted nor listed"
    return {
        "contacts in VirtualText": len(there),
        "phones there twice": len(twice),
        "people texted": len(texted),
        "texted twice": 0,
        "unknown texts": len(unknown),
        "requests of the next sync": _requests_of_next_sync(fleet),
    }


def _requests_of_next_sync(fleet: Fleet) -> int:
    for process in fleet.processes:
        process.send_signal(signal.SIGTERM)
    for process in fleet.processes:
        process.wait(60)
    before = fleet.sandbox.counts()
    done = fleet.run("sync")
    assert done.returncode == 0, done.stdout + done.stderr
    assert fleet.sandbox.counts() == before, "an unchanged sync made requests"
    return 0


def _sync_in_background(fleet: Fleet) -> subprocess.Popen[bytes]:
    return fleet.start("sync", "crm", "people", "--no-texts")


SCENARIOS: dict[str, Callable[..., Figures]] = {
    "kill": kill,
    "two": two,
    "dropped": dropped_answers,
    "stop": warm_stop,
}

"""What must hold whatever goes wrong, with real processes. The tests run these small, ``bench/faults.py`` in full.

Each scenario raises AssertionError when a promise is broken, and returns its figures.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from tests.faults.crowd import FIRST_OF_PEOPLE, Crowd, Figures, verify, write_export
from tests.faults.service import Service
from tests.harness import Fleet, until

CONFIGURATION = """
[connections.crm]
adapter = "csv"
account = "main"
schedule = "2s"
options = { path = "crm.csv", settle_seconds = 0 }

[connections.people]
adapter = "csv"
account = "main"
schedule = "2s"
options = { path = "people.csv", settle_seconds = 0 }

[triggers.welcome]
connections = "people"
on = "created"
message = "Hi {{ name }}, welcome!"
"""
PATIENT = {"connect_timeout": 10.0, "read_timeout": 20.0}
"""For scenarios that are not about time-outs: a busy machine does not cause any."""


def kill(fleet: Fleet, crowd: Crowd, kills: int, seed: int = 1) -> Figures:
    """``kill -9`` of the worker at random moments: first while texts are being sent, then while contacts are."""
    rng = random.Random(seed)
    prepare(fleet)
    # VirtualText is not as near as the sandbox: a kill finds requests on the wire, half of them carried out already.
    for endpoint, milliseconds in (("create", max(20, 20_000 // crowd.contacts)), ("send", 50)):
        for when, share in (("after", 0.5), ("before", 1)):
            fleet.sandbox.add_fault(
                endpoint=endpoint, action="delay", when=when, probability=share, delay_ms=milliseconds
            )
    crowd.write(fleet.folder)
    worker, began, moments = fleet.start("worker"), time.monotonic(), []
    fleet.start("beat")
    by_texts = kills // 2
    for index in range(kills):
        if index < by_texts:
            share = (index + rng.random()) / by_texts
            until("texts to be sent", partial(_passed, fleet, _texted, 0.8 * share * crowd.texts), 120)
        else:
            share = (index - by_texts + rng.random()) / (kills - by_texts)
            until("contacts to be told", partial(_passed, fleet, told, 0.8 * share * crowd.contacts), 120)
        time.sleep(rng.uniform(0, 0.05))  # a random moment, not the one in which a request has just ended
        moments.append(f"{told(fleet):,}+{_texted(fleet)}")
        fleet.kill(worker)
        worker = fleet.start("worker")
    settle(fleet, crowd)
    return {"killed after contacts+texts": "  ".join(moments), "seconds": since(began)} | verify(fleet, crowd)


def two(fleet: Fleet, crowd: Crowd) -> Figures:
    """Two workers, two schedulers, and many syncs of the same connections at the same time."""
    prepare(fleet, **PATIENT)
    workers = [fleet.start("worker") for _ in range(2)]
    until("both workers", lambda: all(b"worker ready" in fleet.log(worker) for worker in workers))
    crowd.write(fleet.folder)
    began = time.monotonic()
    by_hand = [fleet.start("sync", "crm", "people", "--no-texts", "--json") for _ in range(2)]
    with fleet.service() as service:
        jobs = [
            service.send_task("vtsync.sync_connection", kwargs={"connection": name}) for name in ("crm", "people") * 4
        ]
        for _ in range(2):
            fleet.start("beat")
        ends = Counter(job.get(timeout=120, interval=0.05)["state"] for job in jobs)
    for process in by_hand:
        assert process.wait(300) == 0, fleet.log(process).decode()
        ends += Counter(report["state"] for report in json.loads(fleet.log(process))["syncs"])
    # Interrupted: with a lease of 2 s a busy store lets one run out, another takes over, and the fence holds.
    assert set(ends) <= {"done", "busy", "interrupted"}, ends
    settle(fleet, crowd)
    figures: Figures = {
        "syncs asked for at once": ends.total(),
        "of these found it taken": ends["busy"],
        "of these were taken over": ends["interrupted"],
    }
    figures |= {"seconds": since(began)} | verify(fleet, crowd)
    assert figures["listed as unknown, with what to do"] == 0, "nothing went wrong, yet a text is unknown"
    return figures


def dropped_answers(fleet: Fleet, crowd: Crowd, share: float = 0.05) -> Figures:
    """VirtualText carries out the request and the answer is lost, for a share of all writes."""
    prepare(fleet, **PATIENT)
    for endpoint in ("create", "update", "send"):
        fleet.sandbox.add_fault(endpoint=endpoint, action="drop", when="after", probability=share)
    crowd.write(fleet.folder)
    began = time.monotonic()
    fleet.start("worker")
    fleet.start("beat")
    settle(fleet, crowd)
    renamed = Crowd(crowd.contacts, crowd.texts, "Renamed")
    renamed.write(fleet.folder)
    until("the renamed contacts", lambda: _pushed(fleet, "Renamed") == crowd.contacts, 300)
    settle(fleet, renamed)
    lost = Counter(injection.endpoint for injection in fleet.sandbox.injections() if injection.written)
    fleet.sandbox.remove_faults()
    figures: Figures = {f"answers lost to {endpoint}": lost[endpoint] for endpoint in ("create", "update", "send")}
    figures |= {"seconds": since(began)} | verify(fleet, renamed)
    assert figures["listed as unknown, with what to do"] == lost["send"], (figures, lost)
    return figures


def warm_stop(fleet: Fleet, crowd: Crowd) -> Figures:
    """SIGTERM in the middle of a sync: what is on the wire ends, what is claimed is given back."""
    prepare(fleet, **PATIENT)
    fleet.sandbox.add_fault(endpoint="create", action="delay", delay_ms=100)
    fleet.sandbox.add_fault(endpoint="send", action="delay", delay_ms=300)
    crowd.write(fleet.folder)
    worker, beat = fleet.start("worker"), fleet.start("beat")
    until("contacts and texts to flow", lambda: told(fleet) >= 20 and _texted(fleet) >= 5)
    for process in (beat, worker):
        process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert (worker.wait(30), beat.wait(30)) == (0, 0)
    stopped_in, contacts, texted = since(began), told(fleet), _texted(fleet)
    assert texted < crowd.texts, "the texts had all been sent before the stop; ask for more of them"
    claimed = _claimed(fleet)
    assert not any(claimed.values()), f"rows are still claimed: {claimed}"
    assert _pushed(fleet, state="unknown") == 0
    fleet.sandbox.remove_faults()
    began = time.monotonic()
    fleet.start("worker")
    fleet.start("beat")
    settle(fleet, crowd)
    rest = since(began)
    figures = verify(fleet, crowd)
    assert figures["listed as unknown, with what to do"] == 0, "the stop made a text unknown"
    return {
        "stopped after contacts+texts": f"{contacts:,}+{texted}",
        "seconds to stop": stopped_in,
        "rows left claimed": sum(claimed.values()),
        "seconds of the run after it": rest,
    } | figures


def interrupted_sync(fleet: Fleet, crowd: Crowd, number: signal.Signals, when: str) -> Figures:
    """A signal to `vtsync sync` in its middle, without a fleet: it gives everything back, and the next one goes on."""
    prepare(fleet, **PATIENT)
    fleet.sandbox.add_fault(endpoint="create", action="delay", delay_ms=100)
    fleet.sandbox.add_fault(endpoint="send", action="delay", delay_ms=300)
    crowd.write(fleet.folder)
    begun: dict[str, Callable[[], bool]] = {
        "reading": lambda: _is_reading(fleet),
        "contacts": lambda: told(fleet) >= 20,
        "texts": lambda: _texted(fleet) >= 5,
    }
    process = fleet.start("sync")
    until(f"the sync to work on {when}", begun[when], 60)
    process.send_signal(number)
    began = time.monotonic()
    code, seconds, contacts, texted = process.wait(60), since(began), told(fleet), _texted(fleet)
    assert (contacts, texted) != (crowd.contacts + crowd.texts + 1, crowd.texts), "it had ended; ask for more"
    claimed = _claimed(fleet)
    unknown = _pushed(fleet, state="unknown") + fleet.states()["unknown"] + fleet.states()["dispatching"]
    figures: Figures = {
        "exit code": code,
        "seconds to stop": seconds,
        "rows left claimed": sum(claimed.values()),
        "unknown": unknown,
    }
    fleet.sandbox.remove_faults()
    done = fleet.run("sync", *(["--no-push", "--no-texts"] if when == "reading" else []))
    figures |= {"the next sync": "completes" if done.exit_code == 0 and "busy" not in done.output else done.output}
    return figures


def _is_reading(fleet: Fleet) -> bool:
    reads = "SELECT seen FROM sync_run WHERE connection = 'crm' AND state = 'running' AND seen > 0"
    return bool(fleet.query(reads))


def _claimed(fleet: Fleet) -> dict[str, int]:
    """How many rows of each table are claimed."""
    tables = ("contact", "message", "connection_state")
    return {
        table: int(fleet.query(f"SELECT count(*) FROM {table} WHERE lease_owner IS NOT NULL")[0][0]) for table in tables
    }


def rolling(fleet: Fleet, crowd: Crowd) -> Figures:
    """A new version comes: one process after the other is stopped with SIGTERM and started, under load."""
    prepare(fleet, **PATIENT)
    for endpoint in ("create", "send"):
        fleet.sandbox.add_fault(endpoint=endpoint, action="delay", delay_ms=100)
    service = Service(fleet, crowd.of_service(), pause=0.05, processes=2)
    commands = ["worker", "worker", "beat", "web 0", "web 1"]

    def start(command: str) -> subprocess.Popen[bytes]:
        return service.serve(int(command[-1])) if command.startswith("web") else fleet.start(command)

    running = [start(command) for command in commands]
    workers = [running[0], running[1]]
    until("both workers", lambda: all(b"worker ready" in fleet.log(worker) for worker in workers))
    crowd.write(fleet.folder)
    began, codes = time.monotonic(), []
    service.start()
    try:
        until("contacts and texts to flow", lambda: told(fleet) >= 5 and _texted(fleet) >= 3)
        for index, command in enumerate(commands):
            running[index].send_signal(signal.SIGTERM)
            codes.append(running[index].wait(60))
            running[index] = start(command)
        restarted, taken = since(began), service.taken
        service.finish()
    finally:
        service.give_up()
    assert codes == [0] * len(commands), codes
    settle(fleet, crowd)
    assert set(service.answers) <= {"202", "ConnectionRefusedError"}, service.answers
    figures: Figures = {"processes restarted": len(codes), "seconds for it": restarted, "jobs taken meanwhile": taken}
    figures |= {"answers to the service": str(dict(service.answers))} | verify(fleet, crowd)
    assert figures["listed as unknown, with what to do"] == 0, "a restart made a text unknown"
    return figures


def stuck(fleet: Fleet, crowd: Crowd) -> Figures:
    """A worker stands still in the middle of a sync; another takes over; then the first one wakes."""
    prepare(fleet, **PATIENT)
    crowd.write(fleet.folder)
    first = fleet.start("worker")
    fleet.start("beat")
    run = until("a sync to be stopped in its middle", partial(_stopped_in_a_sync, fleet, first))
    began = time.monotonic()
    fleet.start("worker")
    ends = "SELECT state FROM sync_run WHERE connection = 'crm' AND id > :run AND state = 'done'"
    until("the other one to take over", lambda: fleet.query(ends, run=run), 60)
    taken_over = since(began)
    settle(fleet, crowd)
    os.killpg(first.pid, signal.SIGCONT)
    # In a transaction it lost its connection, between two of them its lease.
    noticed = (b"another worker has taken over", b"the store could not be used")
    until("the first to notice", lambda: any(words in fleet.log(first) for words in noticed))
    state = fleet.query("SELECT state FROM sync_run WHERE id = :run", run=run)[0][0]
    assert state == "interrupted", state
    assert first.poll() is None
    return {"seconds until it was taken over": taken_over} | verify(fleet, crowd)


def sliced_import(fleet: Fleet, people: int = 480, size: int = 24, limit: int = 100) -> Figures:
    """An import arrives in slices, each in its own sync and within the limit: together they are over it."""
    prepare(fleet, blast_limit=limit, **PATIENT)
    for there in range(size, people + 1, size):
        write_export(fleet.folder / "people.csv", FIRST_OF_PEOPLE, there + 1)
        done = fleet.run("sync", "people", "--no-push")
        assert done.exit_code == 0, done.output
    texted, waiting = _texted(fleet), fleet.states()["held"]
    assert texted <= limit, f"{texted} people were texted without approval; the limit is {limit}"
    assert texted + waiting == people
    assert f"policy.blast_limit ({limit})" in done.output
    status = fleet.run("status").output
    assert f"{waiting} texts of the trigger welcome" in status, status
    assert fleet.json("approve", "--trigger", "welcome") == {"count": waiting}
    assert fleet.run("sync", "people", "--no-push").exit_code == 0
    sent = Counter(message.to for message in fleet.sandbox.messages("sent_by_platform"))
    assert len(sent) == people
    assert set(sent.values()) == {1}
    return {"people": people, "texted without approval": texted, "waited": waiting, "texted after it": len(sent)}


def _stopped_in_a_sync(fleet: Fleet, worker: subprocess.Popen[bytes]) -> int | None:
    """The number of the sync in which the worker stands still now; None: it was in none, and goes on."""
    reads = "SELECT run_id FROM connection_state WHERE connection = 'crm' AND run_id IS NOT NULL"
    if not fleet.query(reads):
        return None
    os.killpg(worker.pid, signal.SIGSTOP)
    time.sleep(0.1)  # the store may still be at work on its last statement
    if running := fleet.query(reads):
        return int(running[0][0])
    os.killpg(worker.pid, signal.SIGCONT)
    return None


def prepare(
    fleet: Fleet,
    connect_timeout: float = 0.5,
    read_timeout: float = 1.0,
    lookup_after: str = "1s",
    blast_limit: int = 100_000,
) -> None:
    """Two connections; the one with the trigger has its baseline, so that new people are texted."""
    fleet.configure(
        CONFIGURATION,
        policy=f"blast_limit = {blast_limit}",
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        lookup_after=lookup_after,
    )
    write_export(fleet.folder / "crm.csv", 0, 1)
    write_export(fleet.folder / "people.csv", FIRST_OF_PEOPLE, 1)
    assert fleet.run("migrate").exit_code == 0
    done = fleet.run("sync")
    assert done.exit_code == 0, done.output


def settle(fleet: Fleet, crowd: Crowd) -> None:
    """Wait until everything is told, and every text has ended one way or the other."""
    everybody = crowd.contacts + crowd.texts + 1
    until("all contacts to be pushed", lambda: _pushed(fleet) == everybody, 600)
    texts = crowd.texts + crowd.jobs
    until("all texts to end", lambda: (s := fleet.states())["accepted"] + s["unknown"] == texts, 120)


def _passed(fleet: Fleet, count: Callable[[Fleet], int], mark: float) -> bool:
    return count(fleet) > mark


def told(fleet: Fleet) -> int:
    return fleet.sandbox.state.count_contacts("sandbox")


def _texted(fleet: Fleet) -> int:
    return len(fleet.sandbox.messages("sent_by_platform"))


def _pushed(fleet: Fleet, word: str = "", state: str = "synced") -> int:
    rows = fleet.query(
        "SELECT count(*) FROM contact WHERE push_state = :state AND full_name LIKE :name", state=state, name=f"{word}%"
    )
    return int(rows[0][0]) if rows else 0


def since(began: float) -> float:
    return round(time.monotonic() - began, 1)

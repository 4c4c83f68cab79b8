"""Everything at once: workers that are killed, servers that restart, a platform that fails now and then."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from tests.faults.crowd import Crowd, Figures, verify
from tests.faults.scenarios import prepare, settle, since, told
from tests.faults.service import Service
from tests.harness import Fleet, until

FAULTS: tuple[dict[str, Any], ...] = (
    {"action": "answer", "status": 500, "probability": 0.05},
    {"action": "drop", "when": "after", "probability": 0.02},
    {"action": "answer", "status": 429, "probability": 0.01, "headers": {"Retry-After": "1"}},
)
ENDPOINTS = ("create", "update", "send")
CONTACTS_A_SECOND_OF_SETTLING = 2000
"""A list of many contacts is asked for less often: it holds all of them."""


class Server(Protocol):
    """A broker or a store that can be taken away and given back."""

    def kill(self) -> None:
        """At once, as when its machine dies."""

    def start(self) -> None:
        """Again, with what it had written down."""


def chaos(
    fleet: Fleet,
    crowd: Crowd,
    servers: Sequence[Server],
    *,
    workers: int,
    kills: int,
    timeouts: tuple[float, float] = (5.0, 10.0),
    seed: int = 1,
) -> Figures:
    """``kills`` times ``kill -9`` of a worker; each of two ``servers`` and the HTTP side are killed and started again.

    Of all writes 5 % are answered 500, 2 % lose their answer after they were carried out, 1 % are answered 429.
    A service sends jobs meanwhile.
    """
    rng = random.Random(seed)
    lookup_after = f"{max(crowd.contacts // CONTACTS_A_SECOND_OF_SETTLING, 1)}s"
    prepare(fleet, *timeouts, lookup_after)
    numbers = [fleet.sandbox.add_fault(endpoint=endpoint, **fault) for endpoint in ENDPOINTS for fault in FAULTS]
    refusing = {
        number for number, fault in zip(numbers, FAULTS * len(ENDPOINTS), strict=True) if fault.get("status") == 429
    }
    crowd.write(fleet.folder)
    running = [fleet.start("worker") for _ in range(workers)]
    fleet.start("beat")
    began = time.monotonic()
    service = Service(fleet, crowd.of_service(), pause=0.01)
    web = service.serve()
    service.start()
    try:
        restarts = dict(enumerate(servers, start=1))
        for index in range(1, kills + 1):
            mark = 0.8 * (crowd.contacts + crowd.texts) * index / (kills + 1)
            until(f"{mark:,.0f} contacts", partial(_told, fleet, mark), 600)
            _restart(running, rng.randrange(workers), fleet)
            server = restarts.pop(index * (len(servers) + 1) // (kills + 1), None)
            if server is not None:
                server.kill()
                time.sleep(1)
                server.start()
                fleet.kill(web)
                web = service.serve()
        assert not restarts, "a server was never restarted; ask for more kills"
        service.finish()
    finally:
        service.give_up()
    settle(fleet, crowd)
    seconds = since(began)
    unknown = _unknown_are_the_ambiguous(fleet, refusing)
    fleet.sandbox.remove_faults()
    figures: Figures = {
        "workers": workers,
        "kills of workers": kills,
        "kills of broker and store": len(servers),
        "kills of the HTTP side": len(servers),
        "jobs over HTTP": crowd.jobs,
        "of these tried again by the service": service.answers.total() - crowd.jobs,
    }
    return figures | {"seconds": seconds} | unknown | verify(fleet, crowd)


def _told(fleet: Fleet, mark: float) -> bool:
    return told(fleet) >= mark


def _restart(running: list[subprocess.Popen[bytes]], which: int, fleet: Fleet) -> None:
    fleet.kill(running[which])
    running[which] = fleet.start("worker")


def _unknown_are_the_ambiguous(fleet: Fleet, refusing: set[int]) -> Figures:
    """Unknown are exactly the texts whose answer was spoilt, and those on the wire of a worker that was killed."""
    spoilt = (one for one in fleet.sandbox.injections() if one.endpoint == "send" and one.fault not in refusing)
    ambiguous = {one.phone for one in spoilt}
    rows = fleet.query("SELECT to_number, reason FROM message WHERE state = 'unknown'")
    unknown = {row[0] for row in rows}
    vanished = {row[0] for row in rows if str(row[1]).startswith("vanished")}
    assert ambiguous <= unknown, f"{len(ambiguous - unknown)} ambiguous texts are not listed as unknown"
    assert unknown - ambiguous <= vanished, f"{len(unknown - ambiguous - vanished)} are unknown for no reason"
    return {
        "texts whose answer was spoilt": len(ambiguous),
        "texts of killed workers besides": len(unknown - ambiguous),
    }

"""Everything at once: workers that are killed, servers that restart, a platform that fails now and then."""

from __future__ import annotations

import random
import subprocess
import time
from functools import partial
from typing import Any

from tests.faults.crowd import Crowd, Figures, verify
from tests.faults.scenarios import prepare, settle, since, told
from tests.faults.servers import OwnPostgres, OwnRedis
from tests.fleet import Fleet, until

FAULTS: tuple[dict[str, Any], ...] = (
    {"action": "answer", "status": 500, "probability": 0.05},
    {"action": "drop", "when": "after", "probability": 0.02},
    {"action": "answer", "status": 429, "probability": 0.01, "headers": {"Retry-After": "1"}},
)
ENDPOINTS = ("create", "update", "send")


def chaos(
    fleet: Fleet, crowd: Crowd, redis: OwnRedis, postgres: OwnPostgres, *, workers: int, kills: int, seed: int = 1
) -> Figures:
    """``kills`` times ``kill -9`` of a worker; Redis and PostgreSQL are killed and started again once each.

    Of all writes 5 % are answered 500, 2 % lose their answer after they were carried out, 1 % are answered 429.
    """
    rng = random.Random(seed)
    prepare(fleet, connect_timeout=5.0, read_timeout=10.0)
    numbers = [fleet.sandbox.add_fault(endpoint=endpoint, **fault) for endpoint in ENDPOINTS for fault in FAULTS]
    refusing = {
        number for number, fault in zip(numbers, FAULTS * len(ENDPOINTS), strict=True) if fault.get("status") == 429
    }
    crowd.write(fleet.folder)
    running = [fleet.start("worker") for _ in range(workers)]
    fleet.start("beat")
    began = time.monotonic()
    everybody, restarts = crowd.contacts + crowd.texts, {1: redis, 2: postgres}
    for index in range(1, kills + 1):
        mark = 0.8 * everybody * index / (kills + 1)
        until(f"{mark:,.0f} contacts", partial(_told, fleet, mark), 600)
        _restart(running, rng.randrange(workers), fleet)
        server = restarts.get(index * 3 // (kills + 1))
        if server is not None:
            restarts = {number: other for number, other in restarts.items() if other is not server}
            server.kill()
            time.sleep(1)
            server.start()
    assert not restarts, "a server was never restarted; ask for more kills"
    settle(fleet, crowd)
    seconds = since(began)
    unknown = _unknown_are_the_ambiguous(fleet, refusing)
    fleet.sandbox.remove_faults()
    figures: Figures = {"workers": workers, "kills of workers": kills, "servers killed and restarted": 2}
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

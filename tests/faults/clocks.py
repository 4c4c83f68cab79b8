"""Clocks that are wrong: processes of one fleet whose clocks differ, or are set while they run."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.faults.crowd import Crowd, Figures, verify
from tests.faults.scenarios import PATIENT, prepare, settle, since, told
from tests.harness import Fleet, until

SLOW_CREATE_MS = 150
"""Long enough that a worker is found in the middle of a batch."""


@dataclass
class Clocks:
    """Processes that each have a clock of their own."""

    fleet: Fleet
    files: list[Path] = field(default_factory=list)

    def start(self, command: str, ahead: float) -> subprocess.Popen[bytes]:
        """Start a process whose clock is ``ahead`` seconds ahead."""
        file = self.fleet.folder / f"clock-{len(self.files)}"
        file.write_text(str(ahead), encoding="utf-8")
        self.files.append(file)
        return self.fleet.start(command, clock=file)

    def jump(self, which: int, seconds: float) -> None:
        """Set the clock of a process, as if somebody did it while the process runs."""
        file = self.files[which]
        part = file.with_suffix(".part")
        part.write_text(str(float(file.read_text(encoding="utf-8")) + seconds), encoding="utf-8")
        part.replace(file)


def apart(fleet: Fleet, crowd: Crowd, workers: tuple[float, float], beat: float = 0.0) -> Figures:
    """Two workers and a scheduler, each with its own wrong clock; the figures are seconds ahead."""
    clocks = Clocks(fleet)
    began = _begin(fleet, crowd, clocks, workers, beat)
    _require_reported(fleet, clocks)
    settle(fleet, crowd)
    return {"clocks of workers and scheduler": f"{workers} {beat}", "seconds": since(began)} | verify(fleet, crowd)


def jumps(fleet: Fleet, crowd: Crowd, seconds: Mapping[int, float]) -> Figures:
    """The clocks of some of two workers (0, 2) and a scheduler (1) jump while they work."""
    clocks = Clocks(fleet)
    began = _begin(fleet, crowd, clocks, (0.0, 0.0), 0.0)
    until("contacts to flow", partial(_some, fleet, crowd.contacts // 4))
    for which, by in seconds.items():
        clocks.jump(which, by)
    jumped_at = time.monotonic()
    _wait_for_ticks(fleet, 4)
    ticked = since(jumped_at)
    settle(fleet, crowd)
    figures: Figures = {"jumps": str(dict(seconds)), "seconds for four ticks after them": ticked}
    return figures | {"seconds": since(began)} | verify(fleet, crowd)


def _begin(fleet: Fleet, crowd: Crowd, clocks: Clocks, workers: tuple[float, float], beat: float) -> float:
    """Start the processes: the second worker while the first one is in the middle of its first batch."""
    prepare(fleet, **PATIENT)
    fleet.sandbox.add_fault(endpoint="create", action="delay", delay_ms=SLOW_CREATE_MS)
    clocks.start("worker", workers[0])
    clocks.start("beat", beat)
    _wait_for_ticks(fleet, 3)
    crowd.write(fleet.folder)
    began = time.monotonic()
    until("contacts to flow", partial(_some, fleet, 5), 60)
    clocks.start("worker", workers[1])
    return began


def _some(fleet: Fleet, contacts: int) -> bool:
    return told(fleet) > contacts


def _wait_for_ticks(fleet: Fleet, count: int) -> None:
    """Wait until workers have carried out so many ticks from now on."""
    seen: set[str] = set()

    def some() -> bool:
        seen.update(str(row[0]) for row in fleet.query("SELECT seen_at FROM heartbeat WHERE role = 'tick'"))
        return len(seen) > count

    until(f"{count} ticks", some, 60)


def _require_reported(fleet: Fleet, clocks: Clocks) -> None:
    """Each clock that is wrong is in the overview, and once in the log of its process."""
    wrong = [
        process
        for process, file in zip(fleet.processes, clocks.files, strict=True)
        if abs(float(file.read_text(encoding="utf-8"))) >= 5
    ]

    def said() -> str:
        return " ".join(one["what"] for one in fleet.json("status")["attention"] if "clock" in one["what"])

    for process in wrong:
        until(f"the clock of {process.pid} in the status", lambda pid=process.pid: str(pid) in said())  # type: ignore[misc]
        until("the clock in the log", lambda one=process: b"the clock of this machine is" in fleet.log(one))  # type: ignore[misc]

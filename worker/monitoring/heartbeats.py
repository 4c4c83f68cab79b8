"""A process's heartbeat: a liveness file for probes on this machine, and a row in the store for the fleet.

Each has its own thread, so that a process does not seem to hang when the store is down.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, delete
from sqlalchemy.exc import SQLAlchemyError

from worker.core.clock import CLOCK, NOTICED_SECONDS, describe_clock
from worker.core.version import installed_version
from worker.monitoring.liveness import EVERY_SECONDS, MAX_SILENCE_SECONDS, LivenessFile, Role, liveness_folder
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.sql import insert
from worker.store.tables import heartbeat

STORED_EVERY = timedelta(seconds=30)
FORGOTTEN_AFTER = timedelta(minutes=10)
"""A heartbeat that is older than this is deleted."""
ALIVE_SECONDS = 3 * STORED_EVERY.total_seconds()
"""A process counts as alive if its heartbeat is not older than this."""
TICK_ROLE = "tick"
PATIENCE_REQUESTS = 3

log = structlog.get_logger(__name__)


class HeartbeatWriter:
    """The two threads of a heartbeat. ``observe`` is called each second to report on the process in its file."""

    def __init__(self, runtime: Runtime, role: Role, observe: Callable[[LivenessFile], None]) -> None:
        self._runtime, self._role, self._observe = runtime, role, observe
        self._ended = threading.Event()
        loops = (self._write_file, self._write_rows)
        self._threads = [threading.Thread(target=loop, daemon=True, name="heartbeat") for loop in loops]
        self._id = f"{role}:{socket.gethostname()}:{os.getpid()}"[:80]
        self._started_at = utcnow()
        self.file = LivenessFile(liveness_folder(runtime.settings.data_dir), role, _work_patience(runtime))

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Remove the file and the row, because the process ends normally."""
        self._ended.set()
        self._threads[0].join(EVERY_SECONDS * 2)
        self.file.close()
        self._threads[1].join(EVERY_SECONDS * 2)  # without the store, another process deletes the row later

    def _write_file(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            self._observe(self.file)
            try:
                self.file.write()
            except OSError as error:  # a full disk: the process continues, and probes report a missing sign of life
                log.warning("the liveness file cannot be written", error=error.strerror)

    def _write_rows(self) -> None:
        away = False
        clock = ClockLog()
        while True:
            try:
                if self.file.healthy:  # a process that hangs must disappear from the fleet
                    with writing(self._runtime.engine) as db:
                        write_heartbeat(db, self._id, self._role, since=self._started_at, clock=CLOCK.machine_is_ahead)
                    clock.note(CLOCK.machine_is_ahead)
                away = False
            except SQLAlchemyError as error:
                if not away:
                    log.warning("this process's heartbeat cannot be stored", error=type(error).__name__)
                away = True
            if self._ended.wait(STORED_EVERY.total_seconds()):
                break
        if not away:
            try:
                with writing(self._runtime.engine) as db:
                    db.execute(delete(heartbeat).where(heartbeat.c.id == self._id))
            except SQLAlchemyError:
                return  # another process deletes it later


class ClockLog:
    """Logs when the clock of this machine becomes wrong, and when it is right again; once each."""

    def __init__(self) -> None:
        self._wrong = False

    def note(self, ahead: float) -> None:
        """Look at a measurement: by how many seconds the machine's clock is ahead of the store's."""
        wrong = abs(ahead) >= NOTICED_SECONDS
        if wrong and not self._wrong:
            log.warning(
                f"the clock of this machine is {describe_clock(ahead)} the store's; this process goes by the store's",
                host=socket.gethostname(),
                do="synchronize the clocks of this machine and of the store by NTP",
            )
        elif self._wrong and not wrong:
            log.info("the clock of this machine is right again", host=socket.gethostname())
        self._wrong = wrong


def start_heartbeat(runtime: Runtime, role: Role, observe: Callable[[LivenessFile], None]) -> HeartbeatWriter | None:
    """Start a heartbeat. Return None, and log a warning, if ``data_dir`` cannot be written to."""
    try:
        made = HeartbeatWriter(runtime, role, observe)
    except OSError as error:
        folder = str(liveness_folder(runtime.settings.data_dir))
        log.warning("no liveness file can be written; `vtsync health` will fail", folder=folder, error=error.strerror)
        return None
    made.start()
    return made


def write_heartbeat(
    db: Connection, name: str, role: str, *, since: datetime | None = None, clock: float | None = None
) -> None:
    """Store a heartbeat, and delete those of processes that are gone.

    ``clock``: by how many seconds the clock of the process's machine is ahead of the store's.
    """
    now = utcnow()
    row = {"id": name, "role": role, "version": installed_version(), "started_at": since or now, "seen_at": now}
    statement = insert(db, heartbeat)
    row["clock_ahead"] = clock
    update = {column: statement.excluded[column] for column in ("seen_at", "version", "clock_ahead")}
    db.execute(statement.on_conflict_do_update(index_elements=["id"], set_=update), row)
    db.execute(delete(heartbeat).where(heartbeat.c.role != TICK_ROLE, heartbeat.c.seen_at < now - FORGOTTEN_AFTER))


def _work_patience(runtime: Runtime) -> float:
    """Return how long all threads may be busy: no thread waits longer than for a few requests."""
    longest = max(map(runtime.request_seconds, runtime.settings.accounts), default=0.0)
    return MAX_SILENCE_SECONDS + PATIENCE_REQUESTS * longest

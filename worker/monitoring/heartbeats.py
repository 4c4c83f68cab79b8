"""Feels the pulse of a process, keeps it for probes on this machine, and tells the fleet by a row in the store.

Two threads, because a store that is away must not look like a process that hangs.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version

import structlog
from sqlalchemy import Connection, delete
from sqlalchemy.exc import SQLAlchemyError

from worker.monitoring.pulse import EVERY_SECONDS, MOST_SECONDS, PulseFile, Role, alive_folder
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.sql import insert
from worker.store.tables import heartbeat

STORED_EVERY = timedelta(seconds=30)
FORGOTTEN_AFTER = timedelta(minutes=10)
"""A process that was not heard of for this long is not counted among the fleet any more."""
ALIVE_SECONDS = 3 * STORED_EVERY.total_seconds()
"""One that was heard of since lives."""
TICK = "tick"
PATIENCE_REQUESTS = 3

log = structlog.get_logger(__name__)


class Heart:
    """``feel`` is called each second and notes in ``pulse`` what it finds of the process's working parts."""

    def __init__(self, runtime: Runtime, role: Role, feel: Callable[[PulseFile], None]) -> None:
        self._runtime, self._role, self._feel = runtime, role, feel
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True, name="heart") for work in (self._beat, self._store)]
        self._id = f"{role}:{socket.gethostname()}:{os.getpid()}"[:80]
        self._started_at = utcnow()
        self.pulse = PulseFile(alive_folder(runtime.settings.data_dir), role, _patience(runtime))

    def start(self) -> None:
        """Begin to beat."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """The process ends, as it was asked to."""
        self._ended.set()
        self._threads[0].join(EVERY_SECONDS * 2)
        self.pulse.close()
        self._threads[1].join(EVERY_SECONDS * 2)  # the row of a store that is away is pruned by others

    def _beat(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            self._feel(self.pulse)
            try:
                self.pulse.write()
            except OSError as error:  # a full disk: the process works on, and probes say what they see
                log.warning("the pulse cannot be written", error=error.strerror)

    def _store(self) -> None:
        away = False
        while True:
            try:
                if self.pulse.healthy:  # one that hangs is missed by the fleet
                    with writing(self._runtime.engine) as db:
                        keep(db, self._id, self._role, since=self._started_at)
                away = False
            except SQLAlchemyError as error:
                if not away:
                    log.warning("the store does not take this process's heartbeat", error=type(error).__name__)
                away = True
            if self._ended.wait(STORED_EVERY.total_seconds()):
                break
        if not away:
            try:
                with writing(self._runtime.engine) as db:
                    db.execute(delete(heartbeat).where(heartbeat.c.id == self._id))
            except SQLAlchemyError:
                return  # others prune it


def start_heart(runtime: Runtime, role: Role, feel: Callable[[PulseFile], None]) -> Heart | None:
    """A beating heart; None, with a line in the log, where ``data_dir`` cannot be written to."""
    try:
        heart = Heart(runtime, role, feel)
    except OSError as error:
        where = alive_folder(runtime.settings.data_dir)
        log.warning("no pulse can be kept; `vtsync health` will fail", folder=str(where), error=error.strerror)
        return None
    heart.start()
    return heart


def keep(db: Connection, name: str, role: str, *, since: object = None) -> None:
    """Write a heartbeat, and remove those of processes that are gone."""
    now = utcnow()
    row = {"id": name, "role": role, "version": release(), "started_at": since or now, "seen_at": now}
    statement = insert(db, heartbeat)
    update = {"seen_at": statement.excluded.seen_at, "version": statement.excluded.version}
    db.execute(statement.on_conflict_do_update(index_elements=["id"], set_=update), row)
    db.execute(delete(heartbeat).where(heartbeat.c.role != TICK, heartbeat.c.seen_at < now - FORGOTTEN_AFTER))


def release() -> str:
    """The version that runs."""
    try:
        return version("virtualtext-crm-sync")
    except PackageNotFoundError:  # run from a copy of the sources
        return "unknown"


def _patience(runtime: Runtime) -> float:
    """No thread waits longer than a few requests; one of each kind of long work always leaves some free."""
    longest = max(map(runtime.request_seconds, runtime.settings.accounts), default=0.0)
    return MOST_SECONDS + PATIENCE_REQUESTS * longest

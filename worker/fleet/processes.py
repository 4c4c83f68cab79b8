"""Runs worker and scheduler: in this process (`vtsync worker`, `vtsync beat`) or as children (`vtsync up`)."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO, Any

from worker.core.backoff import Backoff
from worker.core.isolated import isolated
from worker.core.private_files import private_file, private_folder
from worker.runtime import Runtime, open_runtime

STOP_SECONDS = 75.0
"""Longer than the longest request, so that its result is stored before the process ends."""
RESTART_BACKOFF = Backoff(first=1, longest=30)
STABLE_SECONDS = 120.0
"""A child that ran for this long before it died is restarted at once."""
PR_SET_PDEATHSIG = 1


class AlreadyRunning(Exception):
    """Another `vtsync up` runs with this data folder."""


def run_worker(queues: Sequence[str] = (), metrics_port: int | None = None) -> None:
    """Run a worker until it is asked to stop, then exit with Celery's code. ``queues`` replaces ``worker.queues``."""
    from celery import signals

    from worker.broker.settings import queues_of
    from worker.core.metrics import answered
    from worker.monitoring.celery_liveness import watch_worker
    from worker.monitoring.exposition import serve_metrics
    from worker.upkeep.rollback_guard import guard

    warnings.filterwarnings("ignore", message=".*superuser privileges")  # usual in a container
    app, runtime = _load_app(), open_runtime()
    if runtime.settings.broker.url is None:  # Celery would report a connection to a host that does not exist
        logging.getLogger("celery.worker.consumer.connection").setLevel(logging.WARNING)
    guard(runtime)  # before anything is sent; what it finds is in the log and in `vtsync status`
    chosen = queues or runtime.settings.worker.queues
    taken = queues_of(chosen, celery_queue=runtime.settings.broker.celery_queue)
    signals.worker_ready.connect(lambda **_: _log_start("worker", runtime, taken), weak=False)
    worker = app.Worker(
        quiet=True,
        hostname=f"vtsync-{os.getpid()}@{socket.gethostname()}",
        queues=",".join(taken),
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=not runtime.settings.worker.events,
        loglevel="INFO",
    )
    serve_metrics(runtime, "worker", metrics_port)
    heartbeat = watch_worker(runtime, worker, answered)
    try:
        worker.start()
    finally:
        if heartbeat is not None:
            heartbeat.stop()
    sys.exit(worker.exitcode or 0)


def run_beat(metrics_port: int | None = None) -> None:
    """Run the scheduler until it is asked to stop."""
    from worker.fleet.wake import wake
    from worker.monitoring.celery_liveness import WatchedScheduler, watch_beat
    from worker.monitoring.exposition import serve_metrics
    from worker.work.registry import TICK

    app, runtime = _load_app(), open_runtime()
    _remove_stored_schedule(private_folder(runtime.settings.data_dir))
    _log_start("scheduler", runtime)
    wake(TICK.task)  # so that due work does not wait for the first interval
    serve_metrics(runtime, "beat", metrics_port)
    heartbeat = watch_beat(runtime)
    try:
        app.Beat(quiet=True, loglevel="INFO", scheduler_cls=WatchedScheduler).run()
    finally:
        if heartbeat is not None:
            heartbeat.stop()


def _remove_stored_schedule(data_dir: Path) -> None:
    """Remove the scheduler's file of earlier versions: a pickle, which would run what others write into it."""
    for path in data_dir.glob("beat-schedule*"):
        path.unlink(missing_ok=True)


def run_up() -> int:
    """Run a worker and a scheduler until asked to stop. Restart either if it ends. Raises AlreadyRunning."""
    data_dir = private_folder(open_runtime().settings.data_dir.absolute())
    with _only_one(data_dir / "up.lock"):
        return _Supervisor([_Child("worker"), _Child("beat")]).run()


def _load_app() -> Any:
    """Return the Celery application with its tasks.

    Celery itself would import the tasks with the current folder first on the import path, and a ``structlog.py`` there
    would replace the library.
    """
    importlib.import_module("worker.tasks")
    return importlib.import_module("worker.app").app


@dataclass
class _Child:
    """A child process that should run as long as this process."""

    command: str
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    next_start: float = 0.0
    started: float = 0.0

    def ensure_running(self) -> None:
        """Start the process if it is not running. Wait longer each time if it keeps ending."""
        now = time.monotonic()
        if self.process is not None and self.process.poll() is not None:
            print(f"{self.command} ended with code {self.process.returncode}; starting it again", file=sys.stderr)  # noqa: T201
            self.process = None
            self.failures = 0 if now - self.started > STABLE_SECONDS else self.failures
            self.next_start = now + (RESTART_BACKOFF.seconds(self.failures) if self.failures else 0)
            self.failures += 1
        if self.process is None and now >= self.next_start:
            self.started = now
            self.process = subprocess.Popen(
                isolated("vtsync", self.command),
                preexec_fn=partial(die_with, os.getpid()),
                start_new_session=True,
            )

    def stop(self, how: signal.Signals) -> None:
        """Send the signal, if the process is running."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(how)


@dataclass
class _Supervisor:
    children: list[_Child]
    stopping: bool = field(default=False, init=False)

    def run(self) -> int:
        """Keep the children running until asked to stop. Return 0 if all of them then ended without an error."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ask_to_stop)
        while not self.stopping:
            for child in self.children:
                child.ensure_running()
            time.sleep(0.2)
        return self._stop()

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def _stop(self) -> int:
        deadline = time.monotonic() + STOP_SECONDS
        running = [child.process for child in self.children if child.process is not None]
        for child in self.children:
            child.stop(signal.SIGTERM)
        for process in running:
            try:
                process.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        # A child that was still starting has no clean way to stop yet, so the signal itself ends it.
        ended = (-signal.SIGTERM, 128 + signal.SIGTERM)
        return max((0 if one.returncode in ended else abs(one.returncode) for one in running), default=0)


def die_with(parent: int) -> None:
    """End this child when its parent is killed (only on Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent was killed before this call
            os._exit(1)


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold the lock file while the block runs."""
    lock: IO[str] = private_file(path).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise AlreadyRunning(
            f"another `vtsync up` runs with the data folder {path.parent}; stop that one first"
        ) from None
    try:
        yield
    finally:
        lock.close()


def _log_start(role: str, runtime: Runtime, queues: Sequence[str] = ()) -> None:
    """Log what this process works on."""
    import structlog

    from worker.broker.settings import describe

    log = structlog.get_logger("vtsync")
    settings = runtime.settings
    log.info(f"{role} ready", broker=describe(settings), **({"queues": " ".join(queues)} if queues else {}))
    log.info("store", url=runtime.engine.url.render_as_string(hide_password=True))
    if role == "scheduler":
        return  # it does not read the connections
    schedules = {
        name: (connection.schedule or "by hand") if connection.enabled else "disabled"
        for name, connection in settings.connections.items()
    }
    log.info("connections", schedules=schedules or "none yet; add one under [connections.NAME]")

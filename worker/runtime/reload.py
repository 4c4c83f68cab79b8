"""Reload the configuration file when it changes. The new settings apply from the next task on.

A file with a mistake changes nothing: the process keeps its settings, and reports the problem once in its log, and in
`vtsync status` until the file is correct. Work that has begun keeps the settings with which it began.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import structlog
from sqlalchemy.exc import SQLAlchemyError

from config.errors import ConfigError
from config.load import find_file
from config.models import Settings
from worker.runtime.load import load_settings
from worker.runtime.runtime import Runtime
from worker.store.configuration import clear_problem, note_problem
from worker.store.db import writing
from worker.store.models import utcnow

LOOK_EVERY_SECONDS = 1.0
SETTLED_SECONDS = 2.0
"""A file that changed more recently may be incomplete, and half a file can be valid, with half of the accounts."""
SAY_AGAIN_SECONDS = 60.0

log = structlog.get_logger(__name__)


LoadSettings: TypeAlias = Callable[[str | None], Settings]


class FileState(NamedTuple):
    """Identifies one version of the file; zeros: there is no file."""

    changed_at: int = 0
    size: int = 0
    inode: int = 0


class Current:
    """The current runtime of one configuration file. Thread-safe. The constructor raises ConfigError.

    ``load`` reads the file: all of it, or what this process needs.
    """

    def __init__(self, config_path: str | None = None, load: LoadSettings = load_settings) -> None:
        self._load = load
        self._path = find_file(config_path)
        self._state = file_state(self._path)
        self._runtime = Runtime(load(str(self._path) if config_path else None))
        self._looked_at = time.monotonic()
        self._lock = threading.Lock()
        self._problem = ""
        self._said_at = 0.0

    def runtime(self) -> Runtime:
        """Return the runtime for work that begins now. If the file has changed, another thread reads it meanwhile."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_EVERY_SECONDS and self._lock.acquire(blocking=False):
            self._looked_at = now
            if self._has_changed() or (self._problem and now - self._said_at >= SAY_AGAIN_SECONDS):
                threading.Thread(target=self._read, name="configuration", daemon=True).start()
            else:
                self._lock.release()
        return self._runtime

    def _has_changed(self) -> bool:
        state = file_state(self._path)
        return state != self._state and is_settled(state, time.time())

    def _read(self) -> None:
        """Read the file and use it, or keep the settings. Called with the lock held."""
        try:
            self._state = file_state(self._path)  # before reading: a write in the meantime is another change
            try:
                wanted = self._load(str(self._path))
            except ConfigError as error:
                self._refuse(str(error))
            else:
                self._take(wanted)
        finally:
            self._lock.release()

    def _refuse(self, problem: str) -> None:
        if problem != self._problem:
            log.error("the changed configuration cannot be used; the previous one stays in use", problem=problem)
        self._problem, self._said_at = problem, time.monotonic()
        try:
            with writing(self._runtime.engine) as db:
                note_problem(db, self._location, problem, utcnow())
        except SQLAlchemyError as error:
            log.warning(
                "the problem cannot be shown in `vtsync status`: the store cannot be used", error=type(error).__name__
            )

    def _take(self, wanted: Settings) -> None:
        before = self._runtime.settings
        settings, fixed = with_what_is_fixed(before, wanted)
        if settings != before:
            self._runtime = self._runtime.but(settings=settings)
            log.info("the changed configuration is in use", changed=changed_keys(before, settings))
        if fixed:
            log.warning("these changes take effect after a restart", keys=fixed)
        self._problem = ""
        try:
            with writing(self._runtime.engine) as db:
                clear_problem(db, self._location)
        except SQLAlchemyError as error:  # the reported problem disappears by its age
            log.warning("the store cannot be used", error=type(error).__name__)

    @property
    def _location(self) -> str:
        return f"{self._path} on {socket.gethostname()}"


def file_state(path: Path) -> FileState:
    """Return the version of the file on disk."""
    try:
        found = path.stat()
    except OSError:
        return FileState()
    return FileState(found.st_mtime_ns, found.st_size, found.st_ino)


def is_settled(state: FileState, now: float) -> bool:
    """Return True if the file was not written recently. A time in the future comes from a wrong clock."""
    age = now - state.changed_at / 1e9
    return not 0 <= age < SETTLED_SECONDS


_FIXED = {
    "data_dir": (),
    "store": (),
    "broker": (),
    "worker": ("concurrency", "tick_every"),
    "web": ("host", "port", "max_body", "body_timeout"),
}
"""What cannot change while a process runs: tables of the file, and keys of each; no keys: the whole table."""


def with_what_is_fixed(before: Settings, wanted: Settings) -> tuple[Settings, list[str]]:
    """Return ``wanted`` without the changes that need a restart, and the names of those changes. Pure."""
    kept: dict[str, object] = {}
    changed: list[str] = []
    for name, keys in _FIXED.items():
        old, new = getattr(before, name), getattr(wanted, name)
        if not keys:
            kept[name] = old
            changed += [name] if new != old else []
            continue
        kept[name] = new.model_copy(update={key: getattr(old, key) for key in keys})
        changed += [f"{name}.{key}" for key in keys if getattr(new, key) != getattr(old, key)]
    return wanted.model_copy(update=kept), changed


def changed_keys(before: Settings, after: Settings) -> list[str]:
    """Return the names of what differs, such as ``connections.crm`` or ``policy``, without values. Pure."""
    found: list[str] = []
    for name in Settings.model_fields:
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(old, dict):
            found += [f"{name}.{key}" for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
        elif old != new:
            found.append(name)
    return found

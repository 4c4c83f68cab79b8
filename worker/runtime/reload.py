"""The configuration file may change while processes run: it is read again, checked, and counts from the next task on.

A file with a mistake changes nothing: the process goes on with what it had and says so, in its log once and in
`vtsync status` for as long as that is so. What work has begun keeps the settings that it began with.
"""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import NamedTuple

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
"""A file that is younger may still be being written; half of one can be valid, with half of the accounts."""
SAY_AGAIN_SECONDS = 60.0

log = structlog.get_logger(__name__)


class Mark(NamedTuple):
    """What tells one state of the file from another; zeros: there is none."""

    changed_at: int = 0
    size: int = 0
    inode: int = 0


class Current:
    """The runtime of one configuration file as it is now. Safe for threads. Raises ConfigError when made."""

    def __init__(self, config_path: str | None = None) -> None:
        self._path = find_file(config_path)
        self._mark = mark_of(self._path)
        self._runtime = Runtime(load_settings(str(self._path) if config_path else None))
        self._looked_at = time.monotonic()
        self._lock = threading.Lock()
        self._problem = ""
        self._said_at = 0.0

    def runtime(self) -> Runtime:
        """The runtime for whatever begins now. When the file has changed, a thread reads it meanwhile."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_EVERY_SECONDS and self._lock.acquire(blocking=False):
            self._looked_at = now
            if self._has_changed() or (self._problem and now - self._said_at >= SAY_AGAIN_SECONDS):
                threading.Thread(target=self._read, name="configuration", daemon=True).start()
            else:
                self._lock.release()
        return self._runtime

    def _has_changed(self) -> bool:
        mark = mark_of(self._path)
        return mark != self._mark and is_settled(mark, time.time())

    def _read(self) -> None:
        """Take the file as it is now, or keep what is there. Called with the lock held."""
        try:
            self._mark = mark_of(self._path)  # before: what is written meanwhile is another change
            try:
                wanted = load_settings(str(self._path))
            except ConfigError as error:
                self._refuse(str(error))
            else:
                self._take(wanted)
        finally:
            self._lock.release()

    def _refuse(self, problem: str) -> None:
        if problem != self._problem:
            log.error("the changed configuration is not used; the one before stays in force", problem=problem)
        self._problem, self._said_at = problem, time.monotonic()
        try:
            with writing(self._runtime.engine) as db:
                note_problem(db, self._place, problem, utcnow())
        except SQLAlchemyError as error:
            log.warning("`vtsync status` cannot show that yet; the store is away", error=type(error).__name__)

    def _take(self, wanted: Settings) -> None:
        before = self._runtime.settings
        settings, fixed = with_what_is_fixed(before, wanted)
        if settings != before:
            self._runtime = self._runtime.but(settings=settings)
            log.info("the changed configuration is in force", changed=changed_keys(before, settings))
        if fixed:
            log.warning("these changes of the configuration count from the next start on", keys=fixed)
        self._problem = ""
        try:
            with writing(self._runtime.engine) as db:
                clear_problem(db, self._place)
        except SQLAlchemyError as error:  # what is shown there goes away by its age
            log.warning("the store is away", error=type(error).__name__)

    @property
    def _place(self) -> str:
        return f"{self._path} on {socket.gethostname()}"


def mark_of(path: Path) -> Mark:
    """The file's state."""
    try:
        found = path.stat()
    except OSError:
        return Mark()
    return Mark(found.st_mtime_ns, found.st_size, found.st_ino)


def is_settled(mark: Mark, now: float) -> bool:
    """Whether nobody has written the file for a moment. A time in the future is a wrong clock's, not a writer's."""
    age = now - mark.changed_at / 1e9
    return not 0 <= age < SETTLED_SECONDS


_FIXED = {
    "data_dir": (),
    "store": (),
    "broker": (),
    "worker": ("concurrency", "tick_every"),
    "web": ("host", "port", "max_body", "body_timeout"),
}
"""What a process is built on: tables of the file, and the keys of each; none: all of it."""


def with_what_is_fixed(before: Settings, wanted: Settings) -> tuple[Settings, list[str]]:
    """``wanted``, but for what cannot change in a running process, and the names of what would have changed. Pure."""
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
    """What differs, as ``connections.crm`` or ``policy``; never a value. Pure."""
    found: list[str] = []
    for name in Settings.model_fields:
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(old, dict):
            found += [f"{name}.{key}" for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
        elif old != new:
            found.append(name)
    return found

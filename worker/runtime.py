"""What a process needs to work: the settings, the store, the clients, a way to be told to stop.

Built once a process by ``open_runtime`` and handed to the functions that the tasks, the command line and the web
side call. Nothing here starts a thread or opens a connection before it is needed.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from config.models import Settings
from worker.virtualtext.outcomes import Endpoint

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from worker.virtualtext.client import VirtualTextClient

# A claim outlives the slowest request that it covers; no request starts later than this before its lease ends.
LEASE_SLACK_SECONDS = 5.0


class StopSignal:
    """Asks long work to stop at the next safe point: on SIGTERM, or when its time is up."""

    def __init__(self, seconds: float | None = None, parent: StopSignal | None = None) -> None:
        self._event = threading.Event()
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._parent = parent

    def set(self) -> None:
        """Ask for the stop."""
        self._event.set()

    @property
    def requested(self) -> bool:
        """Whether to stop now."""
        if self._event.is_set() or (self._parent is not None and self._parent.requested):
            return True
        return self._deadline is not None and time.monotonic() >= self._deadline

    def child(self, seconds: float) -> StopSignal:
        """A signal that also goes off after ``seconds``."""
        return StopSignal(seconds, parent=self)


@dataclass
class Runtime:
    """One process's settings and connections."""

    settings: Settings
    stop: StopSignal = field(default_factory=StopSignal)

    @cached_property
    def engine(self) -> Engine:
        """The store."""
        from worker.store.db import open_engine

        return open_engine(self.settings.database_url())

    def endpoint(self, account: str) -> Endpoint:
        """Where and as whom to call VirtualText for ``account``."""
        found = self.settings.accounts[account]
        return Endpoint(
            uid=found.uid.get_secret_value(),
            token=found.token.get_secret_value(),
            api_url=found.api_url,
            create_url=found.create_url,
            connect_timeout=found.connect_timeout,
            read_timeout=found.read_timeout,
            concurrency=found.concurrency,
        )

    def client(self, account: str) -> VirtualTextClient:
        """The process's client for ``account``."""
        from worker.virtualtext.client import client_for

        return client_for(self.endpoint(account))

    def request_seconds(self, account: str) -> float:
        """The longest that one request may take."""
        found = self.settings.accounts[account]
        return found.connect_timeout + found.read_timeout

    def lease_seconds(self, account: str) -> float:
        """How long a claim on this account's rows lasts: two requests and some slack."""
        return 2 * self.request_seconds(account) + LEASE_SLACK_SECONDS


_runtimes: dict[tuple[int, str], Runtime] = {}
_lock = threading.Lock()


def open_runtime(config_path: str | None = None) -> Runtime:
    """This process's runtime for a configuration file (default: as ``config.load`` finds it). Raises ConfigError."""
    from worker.configured import load_settings

    key = (os.getpid(), config_path or os.environ.get("VTSYNC_CONFIG", ""))
    with _lock:
        if key not in _runtimes:
            _runtimes[key] = Runtime(load_settings(config_path))
        return _runtimes[key]

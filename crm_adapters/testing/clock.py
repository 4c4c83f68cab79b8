"""Moves the clock that an adapter sees, and shortens its waits, so that tests of long times are short."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from types import ModuleType
from typing import Any
from unittest.mock import patch

from crm_adapters import clock as adapters_clock

SHORT = 0.25
"""Seconds after which a time-out ends in a test."""


@dataclass
class Waits:
    """How many seconds an adapter slept, or wanted to, in all."""

    slept: float = 0.0


@contextmanager
def short_waits() -> Iterator[Waits]:
    """Let sleeps and the time-outs of sockets end soon. What has no time-out still waits."""
    waits = Waits()
    sleep, settimeout = time.sleep, socket.socket.settimeout

    def sleep_shortly(seconds: float) -> None:
        waits.slept += seconds
        sleep(min(seconds, 0.001))

    def time_out_soon(self: socket.socket, seconds: float | None) -> None:
        settimeout(self, seconds if seconds is None else min(seconds, SHORT))

    with patch.object(time, "sleep", sleep_shortly), patch.object(socket.socket, "settimeout", time_out_soon):
        yield waits


@dataclass
class Clock:
    """The clock of an adapter, at ``offset`` seconds from the real one."""

    offset: float = 0.0

    def set(self, moment: datetime) -> None:
        """Show this moment now; time passes from there."""
        self.offset = (moment - datetime.now(UTC)).total_seconds()


@contextmanager
def own_clock(adapter: type) -> Iterator[Clock]:
    """Give the modules of an adapter a clock that the test sets: ``time.time`` and ``datetime.now`` follow it."""
    clock, real = Clock(), time.time

    def shifted() -> float:
        return real() + clock.offset

    class Shown(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, datetime)

        def __subclasscheck__(cls, other: type) -> bool:
            return issubclass(other, datetime)

    class ShownDatetime(datetime, metaclass=Shown):
        def __new__(cls, *parts: Any, **named: Any) -> Any:
            return datetime(*parts, **named)  # noqa: DTZ001

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.fromtimestamp(shifted(), tz)

        @classmethod
        def utcnow(cls) -> Any:
            return datetime.fromtimestamp(shifted(), UTC).replace(tzinfo=None)

    changed = [module for module in _modules(adapter) if module.__dict__.get("datetime") is datetime]
    try:
        for module in changed:
            module.datetime = ShownDatetime  # type: ignore[attr-defined]
        with patch.object(time, "time", shifted), patch.object(adapters_clock, "_source", None):
            yield clock
    finally:
        for module in changed:
            module.datetime = datetime  # type: ignore[attr-defined]


def _modules(adapter: type) -> list[ModuleType]:
    """Return the loaded modules of the packages of a class and of its bases, without this package."""
    packages = {cls.__module__.rpartition(".")[0] or cls.__module__ for cls in adapter.__mro__}
    return [
        module
        for name, module in list(sys.modules.items())
        if isinstance(module, ModuleType)
        and not name.startswith("crm_adapters.testing")
        and any(name == package or name.startswith(f"{package}.") for package in packages)
    ]

"""Stores many events at once: commits all waiting events together, then answers each caller."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from worker.inbox.events import Incoming, store_events
from worker.runtime import Runtime
from worker.store.db import writing

BATCH = 500
MOST_WAITING = 20_000
NOTIFY_SECONDS = 0.25


class Overloaded(Exception):
    """More events wait than can be committed soon; the sender should try again."""


class Intake(Protocol):
    """Stores events from an event loop."""

    async def put(self, event: Incoming) -> None:
        """Return once ``event`` is committed. Raises the error that prevented it."""


class BatchIntake:
    """An ``Intake`` whose one thread commits all waiting events, again and again, and wakes workers (``notify``)."""

    def __init__(self, runtime: Runtime, notify: Callable[[], object]) -> None:
        self._runtime, self._notify = runtime, notify
        self._waiting: asyncio.Queue[tuple[Incoming, asyncio.Future[None]]] = asyncio.Queue(MOST_WAITING)
        self._thread = ThreadPoolExecutor(1, "inbox-intake")
        self._notifier = ThreadPoolExecutor(1, "inbox-notify")  # so that a broker that is down delays no event
        self._notified: asyncio.Future[object] | None = None
        self._notified_at = 0.0
        self._notify_later: asyncio.TimerHandle | None = None
        self._ended = False

    async def start(self) -> None:
        """Start committing events."""
        self._writer = asyncio.create_task(self._write())

    async def stop(self) -> None:
        """Commit the waiting events, then end. Later events are refused."""
        self._ended = True
        await self._waiting.join()
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)
        await asyncio.to_thread(self._thread.shutdown)
        if self._notify_later is not None:
            self._notify_later.cancel()
            self._notifier.submit(self._notify)
        self._notifier.shutdown(wait=False)

    async def put(self, event: Incoming) -> None:
        """Return once ``event`` is committed. Raises Overloaded, or the error of the store."""
        if self._ended:
            raise Overloaded
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            self._waiting.put_nowait((event, committed))
        except asyncio.QueueFull:
            raise Overloaded from None
        await committed

    async def _write(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < BATCH and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            error = await self._commit([event for event, _ in batch])
            for _, committed in batch:
                if not committed.done():  # its caller may be gone
                    committed.set_exception(error) if error else committed.set_result(None)
                self._waiting.task_done()
            if error is None:
                self._schedule_notify()

    async def _commit(self, events: Sequence[Incoming]) -> Exception | None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._store, events)
        except Exception as error:  # noqa: BLE001 - each waiting caller gets it
            return error
        return None

    def _store(self, events: Sequence[Incoming]) -> None:
        with writing(self._runtime.engine) as connection:
            store_events(connection, events)

    def _schedule_notify(self) -> None:
        """Notify at most four times a second, and always after the last event."""
        if self._notify_later is not None:
            return
        busy = self._notified is not None and not self._notified.done()
        wait = self._notified_at + NOTIFY_SECONDS - time.monotonic()
        loop = asyncio.get_running_loop()
        if busy or wait > 0:
            self._notify_later = loop.call_later(max(wait, NOTIFY_SECONDS / 2), self._notify_now)
        else:
            self._notify_now()

    def _notify_now(self) -> None:
        self._notify_later = None
        if self._notified is not None and not self._notified.done():  # the broker is down: try again later
            self._schedule_notify()
            return
        self._notified_at = time.monotonic()
        self._notified = asyncio.get_running_loop().run_in_executor(self._notifier, self._notify)

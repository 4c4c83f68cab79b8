"""What shows that the HTTP side works: its event loop comes round, and a thread is free to answer."""

from __future__ import annotations

import asyncio

from anyio import to_thread

from worker.monitoring.heartbeats import start_heart
from worker.monitoring.pulse import EVERY_SECONDS, PulseFile
from worker.runtime import Runtime


class WebHeart:
    """The pulse of the HTTP side: its event loop, and the threads that answer."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def start(self) -> None:
        """Begin to beat, from the loop that is to be watched."""
        self._heart = start_heart(self._runtime, "web", lambda _: None)
        if self._heart is not None:
            self._tasks = [asyncio.create_task(part(self._heart.pulse)) for part in (_loop, _threads)]

    async def stop(self) -> None:
        """The process ends."""
        if self._heart is not None:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.to_thread(self._heart.stop)


async def _loop(pulse: PulseFile) -> None:
    while True:
        pulse.loop()
        await asyncio.sleep(EVERY_SECONDS)


async def _threads(pulse: PulseFile) -> None:
    while True:
        await to_thread.run_sync(pulse.work)  # waits for one to be free, as requests do
        await asyncio.sleep(EVERY_SECONDS)

"""The heartbeat of the HTTP API: reports that its event loop runs and that a thread is free for requests."""

from __future__ import annotations

import asyncio

from anyio import to_thread

from worker.monitoring.heartbeats import start_heartbeat
from worker.monitoring.liveness import EVERY_SECONDS, LivenessFile
from worker.runtime import Runtime


class WebHeartbeat:
    """Reports on the event loop and on the threads that answer requests."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def start(self) -> None:
        """Start reporting. Call it in the event loop that is to be watched."""
        self._heartbeat = start_heartbeat(self._runtime, "web", lambda _: None)
        if self._heartbeat is not None:
            parts = (_report_loop, _report_threads)
            self._tasks = [asyncio.create_task(part(self._heartbeat.file)) for part in parts]

    async def stop(self) -> None:
        """Stop reporting, because the process ends."""
        if self._heartbeat is not None:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.to_thread(self._heartbeat.stop)


async def _report_loop(file: LivenessFile) -> None:
    while True:
        file.report_loop()
        await asyncio.sleep(EVERY_SECONDS)


async def _report_threads(file: LivenessFile) -> None:
    while True:
        await to_thread.run_sync(file.report_progress)  # waits for a free thread, as requests do
        await asyncio.sleep(EVERY_SECONDS)

"""A task that Celery cannot bring to an end gives its message's place back."""

from __future__ import annotations

import pytest

from worker.broker.thread_pool import EndingTaskPool


class Request:
    """What Celery's request has."""

    name = "vtsync.send_message"

    def __init__(self) -> None:
        self.rejected: list[bool] = []

    def on_failure(self) -> None:
        """Celery passes this method to the pool."""

    def reject(self, requeue: bool) -> None:
        self.rejected.append(requeue)


@pytest.mark.parametrize(("error", "rejected"), [(TypeError("what follows it"), [False]), (None, [])])
def test_an_error_outside_of_the_task_takes_no_place(error: Exception | None, rejected: list[bool]) -> None:
    def trace() -> None:
        if error is not None:
            raise error

    pool, request = EndingTaskPool(1, app=None), Request()
    applied = pool.on_apply(trace, (), {}, callback=lambda _: None, error_callback=request.on_failure)
    applied.wait(10)
    pool.executor.shutdown()
    assert request.rejected == rejected

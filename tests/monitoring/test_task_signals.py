"""What the log says of a task that ends with an error."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from structlog.testing import capture_logs

from tests.web.conftest import Site
from worker import tasks
from worker.work.registry import SYNC

AWAY = {
    "operational": OperationalError("SELECT 1", {}, Exception("idle-in-transaction timeout\nserver closed it")),
    "interface": InterfaceError("SELECT 1", {}, Exception("idle-in-transaction timeout")),
    "pool": PoolTimeout("idle-in-transaction timeout"),
}


@pytest.mark.parametrize("error", AWAY.values(), ids=AWAY)
@pytest.mark.parametrize("task", [SYNC.task, "vtsync.tick", "vtsync.push_contacts"])
def test_work_that_loses_the_store_says_so_in_one_line(
    site: Site, monkeypatch: pytest.MonkeyPatch, task: str, error: Exception
) -> None:
    def lose_the_store() -> None:
        raise error

    monkeypatch.setattr("worker.runtime.open_runtime", lambda: site.runtime)
    monkeypatch.setattr(tasks, "open_runtime", lose_the_store)
    arguments = {SYNC.task: ("crm",), "vtsync.tick": (), "vtsync.push_contacts": ("main",)}[task]
    with capture_logs() as lines:
        tasks.app.tasks[task].apply(args=arguments)
    (line,) = lines
    assert "the store could not be used" in line["event"]
    assert (line["log_level"], line["error"]) == ("warning", "idle-in-transaction timeout")

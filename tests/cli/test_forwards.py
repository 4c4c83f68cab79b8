"""What could not be handed on is shown, and tried again when a person says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from tests.cli.conftest import Shell
from worker.runtime import open_runtime
from worker.store.db import reading, writing
from worker.store.tables import delivery

NOW = datetime.now(UTC)


@pytest.fixture
def shell(shell: Shell) -> Shell:
    """With a delivery of each state."""
    shell("migrate")
    rows = [
        *(("subscriber:shop", "failed", 10, "the receiver answered HTTP 500"), ("crm:people:17", "failed", 1, "gone")),
        *(("subscriber:shop", "due", 4, "no answer came"), ("subscriber:shop", "done", 1, "")),
    ]
    with writing(open_runtime().engine) as connection:
        for number, (target, state, attempts, error) in enumerate(rows):
            values: dict[str, Any] = {"event_id": f"e{number}", "target": target, "type": "message.received"}
            values |= {"payload": "{}", "created_at": NOW, "state": state, "due_at": NOW + timedelta(hours=5)}
            connection.execute(insert(delivery).values(values | {"attempts": attempts, "last_error": error}))
    return shell


def states() -> dict[int, tuple[str, int]]:
    with reading(open_runtime().engine) as connection:
        return {row.id: (row.state, row.attempts) for row in connection.execute(select(delivery))}


def test_deliveries_are_listed_and_found(shell: Shell) -> None:
    assert [one["id"] for one in shell.json("forwards", "list")] == [4, 3, 2, 1]
    assert [one["id"] for one in shell.json("forwards", "list", "--failed", "--target", "subscriber:*")] == [1]
    shown = shell("forwards", "list", "--failed").stdout
    for words in ("crm:people:17", "HTTP 500", "vtsync forwards retry"):
        assert words in shown
    assert "in 5 h" in shell("forwards", "list", "--target", "subscriber:shop").stdout
    assert (
        "no failed deliveries for subscriber:desk"
        in shell("forwards", "list", "--failed", "--target", "subscriber:desk").stdout
    )


@pytest.mark.parametrize(
    ("chosen", "tried"),
    [(("1",), {1}), (("--target", "subscriber:shop"), {1, 3}), (("--all-failed",), {1, 2}), (("2", "3"), {2, 3})],
)
def test_what_a_person_chooses_is_tried_again(shell: Shell, chosen: tuple[str, ...], tried: set[int]) -> None:
    before = states()
    assert shell.json("forwards", "retry", *chosen) == {"retried": len(tried)}
    assert states() == before | dict.fromkeys(tried, ("due", 0))


def test_wrong_use_is_said(shell: Shell) -> None:
    assert "--all-failed" in shell("forwards", "retry", code=2).stderr
    assert "vtsync forwards list" in shell("forwards", "retry", "4", code=1).stderr
    assert states()[4] == ("done", 1)
    assert "nothing to retry" in shell("forwards", "retry", "--target", "subscriber:desk").stdout

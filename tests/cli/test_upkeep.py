"""`vtsync prune` and `vtsync restored` as an operator meets them."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import insert, update

from tests.cli.conftest import Shell
from worker.runtime import open_runtime
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.tables import heartbeat, inbox_event, message


def test_prune_says_what_would_go_and_what_went(shell: Shell) -> None:
    assert "Nothing is old enough" in shell("prune").stdout
    old = utcnow() - timedelta(days=40)
    event = {"source": "relay", "name": "main", "received_at": old, "payload": "{}", "state": "done", "detail": ""}
    with writing(open_runtime().engine) as connection:
        connection.execute(insert(inbox_event), [event | {"attempts": 1, "due_at": old}] * 3)
    for dry_run in (["--dry-run"], ["--dry-run"], []):
        counts = {one["what"]: one["count"] for one in shell.json("prune", *dry_run)}
        assert counts["incoming events"] == 3
    assert sum(one["count"] for one in shell.json("prune", "--dry-run")) == 0


def test_a_pruned_text_is_shown_as_such_and_not_tried_again(shell: Shell) -> None:
    sent = shell.json("send", "--to", "+14155552671", "-m", "hello")
    with writing(open_runtime().engine) as connection:
        connection.execute(update(message).values(state="failed", text="", media="[]"))
    assert "(pruned, see retention.texts)" in shell("messages").stdout
    assert "(pruned, see retention.texts)" in shell("explain", "+14155552671").stdout
    refused = shell("retry", sent["message_id"], code=1)
    assert "send a new text with `vtsync send`" in refused.stderr


def test_a_restored_store_is_made_safe_before_anything_starts(shell: Shell) -> None:
    shell("send", "--to", "+14155552671", "-m", "hello", "--queue")
    now = utcnow()
    row = {"id": "worker:here:1", "role": "worker", "version": "1", "started_at": now, "seen_at": now}
    with writing(open_runtime().engine) as connection:
        connection.execute(insert(heartbeat), row)
    assert "stop every worker" in shell("restored", code=1).stderr
    with writing(open_runtime().engine) as connection:
        connection.execute(update(heartbeat).values(seen_at=now - timedelta(hours=5)))
    refused = shell("restored", code=2).stderr
    assert "held for you (`vtsync status`): 1" in refused
    assert "account main: 1 text, 0 contacts" in refused
    assert "add --yes. Nothing was done." in refused
    assert shell.json("messages")[0]["state"] == "queued"
    assert "held for you (`vtsync status`): 1" in shell("restored", "--yes").stdout
    assert shell.json("restored", "--yes")["texts_held"] == 0
    (waiting,) = shell.json("status")["attention"]
    assert waiting["command"].startswith("vtsync approve restored-")
    assert shell.sandbox.messages() == []

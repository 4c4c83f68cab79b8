"""From the CRM's request to the sync: a real web server, worker and scheduler."""

from __future__ import annotations

import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from tests.contacts.acme import ADDRESS, NAME, signature
from tests.harness import Fleet, fleet, until
from worker.fleet.crm_events import EVENT_GAP

ROOT = Path(__file__).parent.parent.parent
SECRET = "a-webhook-secret-of-24-characters"
BODY = b"{}"


@pytest.fixture
def port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def made(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """A connection without a schedule, whose adapter is an installed package."""
    metadata = tmp_path / "acme-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[vtsync.adapters]\n{NAME} = {ADDRESS}\n")
    (tmp_path / "secret").write_text(SECRET)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{tmp_path}")
    monkeypatch.syspath_prepend(str(tmp_path))
    with fleet(tmp_path) as running:
        running.configure(
            f"""
[connections.crm]
adapter = "{NAME}"
account = "main"
webhook_secret = {{ file = "secret" }}
[web]
port = {port}
"""
        )
        yield running


def post(port: int, sign: str) -> int:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/crm/crm/{SECRET}", BODY, {"X-Acme-Signature": sign}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0  # it does not listen yet


def test_an_event_starts_a_sync_and_a_storm_only_one(made: Fleet, port: int) -> None:
    for command in ("web", "worker", "beat"):
        made.start(command)
    until("the web server", lambda: post(port, "forged") == 401)
    assert made.query("SELECT count(*) FROM sync_run")[0][0] == 0
    for _ in range(30):
        assert post(port, signature(BODY)) == 204
    until("the sync", lambda: made.query("SELECT 1 FROM sync_run WHERE state = 'done'"))
    for _ in range(30):
        assert post(port, signature(BODY)) == 204
    [(due, began)] = made.query("SELECT next_run_at, started_at FROM connection_state")
    assert due > began, "the next one is due later, once"
    runs = [datetime.fromisoformat(at) for (at,) in made.query("SELECT started_at FROM sync_run ORDER BY id")]
    # A run begins a moment after its slot.
    assert all(later - earlier > EVENT_GAP / 2 for earlier, later in pairwise(runs)), runs

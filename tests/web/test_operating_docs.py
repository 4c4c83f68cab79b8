"""The examples of docs/http.md, "Operating over HTTP", as they are written there, against a running API."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from sqlalchemy import Engine, insert

from config.models import Connection as ConnectionSettings
from tests.messages.conftest import PAST, Outbox, number
from tests.web.conftest import runtime_over
from worker.core.states import MessageState
from worker.messages.opt_outs import open_review
from worker.store.db import reading, writing
from worker.store.ids import new_message_id
from worker.store.models import utcnow
from worker.store.tables import contact, dead_letter, delivery, inbox_event
from worker.web.app import create_app
from worker.web.audit import entries
from worker.web.keys import create_key

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "docs" / "http.md").read_text("utf-8").partition("## Operating over HTTP\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^```(sh|json)\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE)
UNTIL = "01931f6ac2d97b6aa1f2b3c4d5e6f7ff"
READ = "2026-11-02T09:30:00Z"
BATCH, UNKNOWN, ADA = "01931f6ac2d97b6aa1f2b3c4d5e6f700", "01931f6ac2d97b6aa1f2b3c4d5e6f708", "+14155552671"
CAME = "2027-03-01T14:30:00Z"
ACTIONS = ["approve", "sent", "review_continue", "asked_for_sync", "retry_contacts", "contact_found", "retry_events"]
ACTIONS += ["clear_dead_letters", "retry_forwards", "read_person"]


@pytest.fixture
def api(
    engine: Engine, hinted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Outbox, str, str]]:
    """What the examples name, the text whose outcome is unknown, and the address of a server."""
    monkeypatch.setattr("worker.web.status.jobs_in_broker", lambda _: {"waiting": 0, "error": ""} | NOT_TOLD)
    runtime = runtime_over(engine)
    (tmp_path / "people.csv").write_text("id,phone\n")
    crm = ConnectionSettings(adapter="csv", account="main", options={"path": str(tmp_path / "people.csv")})
    runtime.settings = runtime.settings.model_copy(update={"connections": {"crm": crm}})
    box = Outbox(runtime, runtime.fake)
    held = {"state": MessageState.HELD, "reason": "approval: 11 people", "batch_id": BATCH}
    for index in range(12):
        box.trigger_text("ready", number(min(index, 10)), key=str(index), **held)
    unknown = box.send(to=ADA)
    box.change(unknown, state=MessageState.UNKNOWN)
    row = {"target": "subscriber:shop", "type": "message.sent", "payload": "{}", "state": "failed"}
    with writing(engine) as db:
        open_review(db, ADA, excerpt="stop it lol", inbound_id=None, since=PAST, account="main")
        stuck = {"account": "main", "wanted_hash": b"1", "created_at": PAST}
        for index, state in enumerate(("rejected", "rejected", "unknown")):
            db.execute(insert(contact), stuck | {"phone": f"+1415555267{index}", "push_state": state})
        event = {"source": "relay", "name": "main", "payload": "{}", "state": "failed", "detail": "bad"}
        db.execute(insert(inbox_event), event | {"received_at": PAST, "due_at": PAST})
        letter = {"id": "a", "reason": "to is missing", "first_at": PAST, "last_at": PAST}
        db.execute(insert(dead_letter), letter)
        for _ in range(3):
            db.execute(insert(delivery), row | {"event_id": new_message_id(), "created_at": PAST, "due_at": PAST})
    server = uvicorn.Server(uvicorn.Config(create_app(runtime), port=0, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield box, unknown, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


NOT_TOLD = {"in_progress": None, "left_behind": None}


def test_the_examples_do_what_they_say(api: tuple[Outbox, str, str]) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    box, unknown, url = api
    with writing(box.engine) as db:
        scopes = ["operate:read", "operate:write"]
        key = create_key(db, "on-call", scopes, [], created_by="test", now=utcnow())
    environment = {"PATH": os.environ["PATH"], "KEY": key}
    answers: list[Any] = []
    for language, code in BLOCKS:
        if language == "json":
            assert answers[-1] == json.loads(code)
            continue
        commands = (
            code.replace("http://127.0.0.1:8080", url)
            .replace(UNKNOWN, unknown)
            .replace(UNTIL, unknown)
            .replace(READ, PAST.isoformat())
            .replace(CAME, PAST.isoformat())
            .replace("curl ", "curl -sS --fail-with-body ")
        )
        for command in re.split(r"\n(?=curl)", commands):
            done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            answers.append(json.loads(done.stdout))
    assert len(answers) == 20
    assert box.state(unknown) == MessageState.CONFIRMED
    with reading(box.engine) as db:
        lines = entries(db, limit=20)[::-1]
    assert [one.action for one in lines] == ACTIONS
    assert {one.actor for one in lines} == {"key on-call"}

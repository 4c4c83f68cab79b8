"""What the documentation tells receivers to do accepts our webhooks, and nobody else's."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from config.event_types import EventType
from tests.deliveries.conftest import SECRET, Outward, Receiver, on_sqlite
from tests.inbox.conftest import THEM, inbound
from worker.deliveries.outcome import SCHEDULE
from worker.deliveries.webhooks import ANSWER_SECONDS, CONNECT_SECONDS, sign_webhook
from worker.messages.delivery import deliver_due
from worker.store.models import utcnow

DOCUMENT = (Path(__file__).parents[2] / "docs" / "forwarding.md").read_text(encoding="utf-8")
ENQUEUE = (Path(__file__).parents[2] / "docs" / "enqueue.md").read_text(encoding="utf-8")
BODY = '{"type":"message.received","data":{"text":"Grüße 👋"}}'

Verify = Callable[[str, dict[str, str], str], Any]


def in_python(secret: str, headers: dict[str, str], body: str) -> Any:
    (code,) = re.findall(r"```python\n(import base64.*?)```", ENQUEUE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    return names["verified"](secret, headers, body.encode())


def in_node(secret: str, headers: dict[str, str], body: str) -> Any:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    (code,) = re.findall(r"```js\n(const crypto.*?)```", ENQUEUE, re.DOTALL)
    call = f"verified({json.dumps(secret)}, {json.dumps(headers)}, Buffer.from({json.dumps(body)}))"
    command = [node, "-e", f"{code}\nconsole.log(JSON.stringify({call}));"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise ValueError(done.stderr)
    return json.loads(done.stdout)


@pytest.mark.parametrize("verify", [in_python, in_node])
def test_receivers_accept_ours_and_nobody_elses(verify: Verify) -> None:
    now = utcnow()
    headers = {"webhook-id": "e1", "webhook-timestamp": str(int(now.timestamp()))}
    signed = headers | {"webhook-signature": f"v1,abc {sign_webhook(SECRET, 'e1', now, BODY)}"}
    assert verify(SECRET, signed, BODY) == json.loads(BODY)
    wrong: list[tuple[dict[str, str], str]] = [(signed, BODY + " "), (signed | {"webhook-id": "e2"}, BODY)]
    past = now - timedelta(minutes=6)
    old = {"webhook-timestamp": str(int(past.timestamp())), "webhook-signature": sign_webhook(SECRET, "e1", past, BODY)}
    for given, body in [*wrong, (signed | old, BODY)]:
        with pytest.raises(ValueError, match=r"too old|not signed"):
            verify(SECRET, given, body)


def test_the_document_names_all_events_and_times() -> None:
    assert {name for name in EventType if f"`{name}`" not in DOCUMENT} == set()
    words = {5: "5 s", 300: "5 min", 1800: "30 min"} | {hours * 3600: f"{hours} h" for hours in range(1, 25)}
    waits = [words[int(wait.total_seconds())] for wait in SCHEDULE]
    assert f"{', '.join(waits[:-1])} and {waits[-1]}" in DOCUMENT
    assert f"{CONNECT_SECONDS:g} seconds to connect and {ANSWER_SECONDS:g} to answer" in DOCUMENT


@on_sqlite
def test_the_documented_events_are_as_they_come(outward: Outward, receiver: Receiver) -> None:
    outward.send(THEM, "hello")
    deliver_due(outward.runtime)
    outward.comes(inbound())
    outward.goes()
    shown = [json.loads(one) for one in re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)]
    come = {event["type"]: event for event in receiver.heard}
    assert {one["type"] for one in shown} == set(come)
    for one in shown:
        assert one.keys() == come[one["type"]].keys()
        assert one["data"].keys() == come[one["type"]]["data"].keys()

"""Mutated Relay and carrier payloads through the HTTP side: no answer 5xx, and no valid event among them lost.

    python bench/fuzz.py [--payloads 50000] [--seed N]

Half of the payloads go to the Relay, half to carriers. A fifth is valid and must be in the store in the
end: a reply as a reply, a carrier's text as a record. The rest are such events with fields changed, removed, doubled,
nested or cut, and plain noise. Exits 1 when something is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import func, select
from sqlmodel import SQLModel

from config.models import Account, Settings
from config.outside import Carrier
from config.policy import Policy
from worker.carriers.apply import prepare as prepare_carrier
from worker.inbox.process import process_due
from worker.inbox.relay import prepare as prepare_relay
from worker.runtime import Runtime
from worker.store.db import open_engine, reading
from worker.store.tables import inbound_message, inbox_event, message

SECRET, AT_ONCE = "a-secret-of-at-least-24-characters", 50
PRIVATE = Ed25519PrivateKey.generate()
PUBLIC = base64.b64encode(PRIVATE.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
ODD: list[Any] = [
    None,
    True,
    -1,
    1.5,
    10**12,
    "",
    " ",
    "\x00",
    "\ud83d\ude00",
    "x" * 3000,
    [],
    {},
    [[]],
    {"a": {"b": []}},
]


def relay_event(number: int) -> dict[str, Any]:
    return {
        "MessageID": f"in{number}",
        "ConversationID": f"c{number}",
        "ToNumber": "+14155550100",
        "FromNumber": f"+1212555{number % 10_000:04d}",
        "MessageBody": f"text {number}",
        "MessageDirection": "in",
        "Media": [],
    }


def carrier_event(number: int) -> dict[str, Any]:
    payload = {
        "id": f"t{number}",
        "direction": "outbound",
        "from": {"phone_number": "+14155550100"},
        "to": [{"phone_number": f"+1212555{number % 10_000:04d}", "status": "sent"}],
        "text": f"text {number}",
    }
    return {"data": {"event_type": "message.sent", "payload": payload}}


def mutated(rng: random.Random, value: Any) -> Any:
    """The value with something wrong in it, at any depth."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        changed = dict(value)
        key = rng.choice(list(changed))
        match rng.randrange(5):
            case 0:
                del changed[key]
            case 1:
                changed[key] = rng.choice(ODD)
            case 2:
                changed[rng.choice([key.lower(), key.upper(), f"{key}x", "data"])] = changed.pop(key)
            case _:
                changed[key] = mutated(rng, changed[key])
        return changed
    if isinstance(value, list) and value and rng.random() < 0.5:
        return [mutated(rng, one) for one in value] * rng.randrange(3)
    return rng.choice([*ODD, [value], {"data": value}])


def body_of(rng: random.Random, event: dict[str, Any]) -> bytes:
    """What is sent instead of the event."""
    kind = rng.random()
    if kind < 0.1:
        return rng.randbytes(rng.randrange(200))
    changed = mutated(rng, event)
    for _ in range(rng.randrange(3)):
        changed = mutated(rng, changed)
    body = json.dumps(changed).encode()
    return body[: rng.randrange(len(body) + 1)] if kind < 0.2 else body


def signed(body: bytes) -> dict[str, str]:
    stamp = str(int(time.time()))
    signature = base64.b64encode(PRIVATE.sign(f"{stamp}|".encode() + body)).decode()
    return {"telnyx-timestamp": stamp, "telnyx-signature-ed25519": signature, "content-type": "application/json"}


async def send_all(runtime: Runtime, payloads: int, rng: random.Random) -> tuple[Counter[int], int, int]:
    """Answers by status, and how many valid events went to each side."""
    from worker.web.app import create_app

    app, statuses, valid, places = create_app(runtime), Counter[int](), [0, 0], asyncio.Semaphore(AT_ONCE)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    async def one(client: httpx.AsyncClient, number: int) -> None:
        to_carrier, good = number % 2, number % 10 < 2
        event = carrier_event(number) if to_carrier else relay_event(number)
        body = orjson.dumps(event) if good else body_of(rng, event)
        valid[to_carrier] += good
        path = "/carriers/telnyx/tx" if to_carrier else f"/relay/{SECRET}"
        async with places:
            answer = await client.post(path, content=body, headers=signed(body) if to_carrier else {})
        statuses[answer.status_code] += 1

    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        for start in range(0, payloads, 1000):
            await asyncio.gather(*(one(client, number) for number in range(start, min(start + 1000, payloads))))
    return statuses, valid[0], valid[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--payloads", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with tempfile.TemporaryDirectory(prefix="vtsync-bench-") as folder:
        os.chdir(folder)
        settings = Settings(
            data_dir=Path(folder),
            accounts={"main": Account(uid="u", token="t", from_number="+14155550100", relay_secret=SECRET)},  # type: ignore[arg-type]
            policy=Policy(quiet_hours="none"),
            carriers={"tx": Carrier(carrier="telnyx", account="main", public_key=PUBLIC)},
        )
        runtime = Runtime(settings)
        runtime.__dict__["engine"] = open_engine(f"sqlite:///{folder}/store.sqlite3")
        SQLModel.metadata.create_all(runtime.engine)
        import worker.web.app

        worker.web.app.hint = lambda *_: True  # no broker
        return run(runtime, options.payloads, options.seed)


def run(runtime: Runtime, payloads: int, seed: int) -> int:
    print(f"{payloads:,} payloads, seed {seed}", flush=True)
    began = time.monotonic()
    statuses, replies, records = asyncio.run(send_all(runtime, payloads, random.Random(seed)))
    sent = time.monotonic() - began
    # The Relay's echo of a carrier's text is not waited for: these have been here for a minute.
    with runtime.engine.begin() as connection:
        connection.execute(
            inbox_event.update().values(received_at=func.datetime(inbox_event.c.received_at, "-60 seconds"))
        )
    for _ in range(10):
        process_due(runtime, {"relay": prepare_relay, "carrier": prepare_carrier}, payloads * 2)
        with runtime.engine.begin() as connection:
            connection.execute(inbox_event.update().values(due_at=func.datetime("now", "-1 seconds")))
    with reading(runtime.engine) as connection:
        kept = {
            "replies": connection.scalar(
                select(func.count()).where(inbound_message.c.virtualtext_message_id.startswith("in"))
            ),
            "records": connection.scalar(select(func.count()).where(message.c.carrier_message_id.startswith("t"))),
        }
        states = dict(connection.execute(select(inbox_event.c.state, func.count()).group_by(inbox_event.c.state)).all())
    broken = sum(count for status, count in statuses.items() if status >= 500)
    for what, figure in (
        *((f"answers {status}", count) for status, count in sorted(statuses.items())),
        *((f"events {state}", count) for state, count in sorted(states.items())),
        ("valid replies sent", replies),
        ("replies kept", kept["replies"]),
        ("valid carrier texts sent", records),
        ("records kept", kept["records"]),
        ("answers 5xx", broken),
        ("payloads a second", round(payloads / sent)),
    ):
        print(f"  {what:<26} {figure:,}")
    right = not broken and kept["replies"] >= replies and kept["records"] >= records and not states.get("new")
    print("  nothing broken, nothing lost" if right else "  BROKEN")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())

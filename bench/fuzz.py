"""Sends mutated Relay and carrier payloads to the HTTP API: no response may be 5xx, and no valid event may be lost.

    python bench/fuzz.py [--payloads 50000] [--seed N]

Half of the payloads go to the Relay, half to the six carriers, with valid signatures. A fifth of them is valid and must
be in the store in the end: a reply as a reply, a carrier's text as a record or, if the carrier does not send the text,
as an event with that reason. The others have fields that are changed, removed, doubled, nested or cut, are plain noise,
or have wrong headers. Exits with 1 if something is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlencode

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Connection, func, select
from sqlmodel import SQLModel

from config.integrations import Carrier
from config.models import Account, Settings, Web
from config.policy import Policy
from worker.inbox.carrier_texts import prepare_carrier
from worker.inbox.process import process_due
from worker.inbox.relay import prepare_relay
from worker.runtime import Runtime
from worker.store.db import open_engine, reading
from worker.store.tables import inbound_message, inbox_event, message

SECRET, AT_ONCE = "a-secret-of-at-least-24-characters", 50
PRIVATE = Ed25519PrivateKey.generate()
PUBLIC = base64.b64encode(PRIVATE.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
HOST, FORM, JSON = "http://fuzz", "application/x-www-form-urlencoded", "application/json"
Ids: TypeAlias = defaultdict[str, set[str]]
CARRIERS = ("twilio", "telnyx", "bandwidth", "vonage", "plivo", "sinch")
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


def carrier_event(kind: str, number: int) -> Any:
    """Return an event of a text that was sent, with its content if the carrier sends it."""
    to, ours, id_ = f"+1212555{number % 10_000:04d}", "+14155550100", f"t{number}"
    match kind:
        case "twilio":
            return {"MessageSid": id_, "MessageStatus": "sent", "To": to, "From": ours, "Body": f"text {number}"}
        case "telnyx":
            sent = {"phone_number": to, "status": "sent"}
            payload = {"id": id_, "direction": "outbound", "from": {"phone_number": ours}, "to": [sent]}
            return {"data": {"event_type": "message.sent", "payload": payload | {"text": f"text {number}"}}}
        case "bandwidth":
            message = {"id": id_, "owner": ours, "from": ours, "to": [to], "direction": "out"}
            return [{"type": "message-delivered", "to": to, "message": message}]
        case "vonage":
            return {"message_uuid": id_, "to": to[1:], "from": ours[1:], "status": "delivered"}
        case "plivo":
            return {"MessageUUID": id_, "To": to[1:], "From": ours[1:], "Status": "sent"}
        case _:
            return {"type": "recipient_delivery_report_sms", "batch_id": id_, "recipient": to, "status": "Delivered"}


def is_form(kind: str) -> bool:
    return kind in ("twilio", "plivo")


def on_the_wire(kind: str, event: Any) -> bytes:
    if not is_form(kind):
        return json.dumps(event).encode()
    fields = event if isinstance(event, dict) else {"x": event}
    flat = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    return urlencode(flat, errors="replace").encode()


def mutated(rng: random.Random, value: Any) -> Any:
    """Return the value with an error in it, at any depth."""
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


def body_of(rng: random.Random, kind: str, event: Any) -> bytes:
    """Return the body to send instead of the event."""
    chance = rng.random()
    if chance < 0.1:
        return rng.randbytes(rng.randrange(200))
    changed = mutated(rng, event)
    for _ in range(rng.randrange(3)):
        changed = mutated(rng, changed)
    body = on_the_wire(kind, changed)
    return body[: rng.randrange(len(body) + 1)] if chance < 0.2 else body


def signed(kind: str, body: bytes) -> dict[str, str]:
    """Return the headers that this carrier sends with the body."""
    stamp, url = str(int(time.time())), f"{HOST}/carriers/{kind}/{kind}"
    form = sorted(set(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))) if is_form(kind) else []
    fields = "".join(name + value for name, value in form)
    match kind:
        case "twilio":
            return {"content-type": FORM, "x-twilio-signature": _hmac("sha1", f"{url}{fields}".encode())}
        case "plivo":
            over = f"{url}?{fields}.nonce" if form else f"{url}.nonce"
            headers = {"content-type": FORM, "x-plivo-signature-v3-nonce": "nonce"}
            return headers | {"x-plivo-signature-v3": _hmac("sha256", over.encode())}
        case "telnyx":
            signature = base64.b64encode(PRIVATE.sign(f"{stamp}|".encode() + body)).decode()
            return {"content-type": JSON, "telnyx-timestamp": stamp, "telnyx-signature-ed25519": signature}
        case "vonage":
            claims = {"iat": int(stamp), "payload_hash": hashlib.sha256(body).hexdigest()}
            return {"content-type": JSON, "authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"}
        case "bandwidth":
            return {"content-type": JSON, "authorization": "Basic " + base64.b64encode(f"u:{SECRET}".encode()).decode()}
        case _:
            name = "x-sinch-webhook-signature"
            over = _hmac("sha256", body + f".n.{stamp}".encode())
            return {"content-type": JSON, name: over, f"{name}-nonce": "n", f"{name}-timestamp": stamp}


def _hmac(kind: str, data: bytes) -> str:
    return base64.b64encode(hmac.new(SECRET.encode(), data, kind).digest()).decode()


def spoilt(rng: random.Random, headers: dict[str, str]) -> dict[str, str]:
    """Corrupt one header, as a sender that is not the carrier would."""
    odd = ["", "9" * 400, "-1", "\xe9", "Bearer a.b.c", "Basic \xe9", "key=\xe9,algorithm=x", "x" * 3000]
    return headers | {rng.choice([*headers, "x-twilio-webhooks-signature-settings"]): rng.choice(odd)}


async def send_all(runtime: Runtime, payloads: int, rng: random.Random) -> tuple[Counter[int], Ids]:
    """Return the number of answers by status, and the ids of valid events by source ("relay" or the carrier)."""
    from worker.web.app import create_app

    app, statuses, slots = create_app(runtime), Counter[int](), asyncio.Semaphore(AT_ONCE)
    valid: Ids = defaultdict(set)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    async def one(client: httpx.AsyncClient, number: int) -> None:
        kind = CARRIERS[number // 2 % len(CARRIERS)] if number % 2 else "relay"
        good = rng.random() < 0.2
        event = carrier_event(kind, number) if number % 2 else relay_event(number)
        body = on_the_wire(kind, event) if good else body_of(rng, kind, event)
        if good:
            valid[kind].add(f"in{number}" if kind == "relay" else f"t{number}")
        headers = signed(kind, body) if number % 2 else {}
        if number % 2 and not good and rng.random() < 0.2:
            headers = spoilt(rng, headers)
        path = f"/carriers/{kind}/{kind}" if number % 2 else f"/relay/{SECRET}"
        sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        async with slots:
            answer = await client.post(path, content=body, headers=sent)
        statuses[answer.status_code] += 1
        assert answer.status_code < 300 or not good, f"a valid event of {kind} was refused: {answer.status_code}"

    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url=HOST) as client:
        for start in range(0, payloads, 1000):
            await asyncio.gather(*(one(client, number) for number in range(start, min(start + 1000, payloads))))
    return statuses, valid


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
            web=Web(public_url=HOST),
            carriers={
                kind: Carrier(
                    carrier=kind,  # type: ignore[arg-type]
                    account="main",
                    account_id="AC1",
                    auth_token=SECRET,  # type: ignore[arg-type]
                    signing_key=SECRET,  # type: ignore[arg-type]
                    public_key=PUBLIC,
                    username="u",
                    password=SECRET,  # type: ignore[arg-type]
                    look_up=False,  # there is no API to ask
                )
                for kind in CARRIERS
            },
        )
        runtime = Runtime(settings, engine=open_engine(f"sqlite:///{folder}/store.sqlite3"))
        SQLModel.metadata.create_all(runtime.engine)
        import worker.web.app

        worker.web.app.wake = lambda *_: True  # no broker
        return run(runtime, options.payloads, options.seed)


def run(runtime: Runtime, payloads: int, seed: int) -> int:
    print(f"{payloads:,} payloads, seed {seed}", flush=True)
    began = time.monotonic()
    statuses, valid = asyncio.run(send_all(runtime, payloads, random.Random(seed)))
    sent = time.monotonic() - began
    # Make the events a minute old, so that processing does not wait for the Relay's echo of a carrier's text.
    with runtime.engine.begin() as connection:
        connection.execute(
            inbox_event.update().values(received_at=func.datetime(inbox_event.c.received_at, "-60 seconds"))
        )
    for _ in range(10):
        process_due(runtime, {"relay": prepare_relay, "carrier": prepare_carrier}, payloads * 2)
        with runtime.engine.begin() as connection:
            connection.execute(inbox_event.update().values(due_at=func.datetime("now", "-1 seconds")))
    with reading(runtime.engine) as connection:
        kept = _kept(connection)
        states = dict(connection.execute(select(inbox_event.c.state, func.count()).group_by(inbox_event.c.state)).all())
    broken = sum(count for status, count in statuses.items() if status >= 500)
    for what, figure in (
        *((f"answers {status}", f"{count:,}") for status, count in sorted(statuses.items())),
        *((f"events {state}", f"{count:,}") for state, count in sorted(states.items())),
        *((f"{kind}: valid, lost", f"{len(ids):,}, {len(ids - kept[kind]):,}") for kind, ids in sorted(valid.items())),
        ("answers 5xx", f"{broken:,}"),
        ("payloads a second", f"{payloads / sent:,.0f}"),
    ):
        print(f"  {what:<26} {figure}")
    right = not broken and all(ids <= kept[kind] for kind, ids in valid.items()) and not states.get("new")
    print("  nothing broken, nothing lost" if right else "  BROKEN")
    return 0 if right else 1


def _kept(connection: Connection) -> Ids:
    """Return the ids of replies, and of carriers' texts: as records, or as events without content."""
    kept: Ids = defaultdict(set)
    kept["relay"] = set(connection.execute(select(inbound_message.c.virtualtext_message_id)).scalars())
    for kind, found in connection.execute(select(message.c.carrier, message.c.carrier_message_id)):
        kept[kind].add(found)
    without_text = select(inbox_event.c.detail).where(inbox_event.c.detail.contains("does not contain the text"))
    for detail in connection.execute(without_text).scalars():
        _, _, _, kind, found, *_ = detail.split()  # "the event of KIND ID does not contain the text"
        kept[kind].add(found.partition("/")[0])
    return kept


if __name__ == "__main__":
    sys.exit(main())

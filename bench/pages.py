"""Measures how long the pages of `vtsync web` take, and how large they are, over a full store.

    python bench/pages.py [--contacts 100000] [--messages 1000000] [--rounds 9] [--store postgresql+psycopg://...]

The store is filled directly: contacts with their records, a month of texts, some of which wait, and rejected records.
A figure is the median of the rounds, in the process that renders the page. The overview is read anew in each round.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.results import Goal, Results, parser, results

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from worker.runtime import Runtime

PASSWORD = "correct horse battery"
PORTION = 20_000
MONTH = timedelta(days=30)
PLACES = {
    # page: the goal in ms
    "/ui": 100,
    "/ui/alerts": 100,
    "/ui/failures": None,
    "/ui/connections": None,
    "/ui/connections/crm": None,
    "/ui/messages": None,
    "/ui/messages?state=held": None,
    "/ui/triggers": None,
    "/ui/triggers/won": None,
    "/ui/triggers/won?record=2": None,
}
MOST_KB = 100


def number(index: int) -> str:
    return f"+1{201 + index % 700:03}555{index // 700:04}"


def open_store(folder: Path, store: str | None) -> Runtime:
    """Make an empty store, and a user."""
    from config.models import Settings
    from worker.runtime import Runtime
    from worker.store.db import writing
    from worker.store.migrate import migrate
    from worker.store.models import utcnow
    from worker.web.users import create_user

    settings: dict[str, Any] = {
        "data_dir": folder,
        "accounts": {"main": {"uid": "u", "token": "t", "from_number": "+14155550100"}},
        "connections": {
            name: {"adapter": "csv", "account": "main", "schedule": "5m", "options": {"path": f"{name}.csv"}}
            for name in ("crm", "shop")
        },
        "triggers": {"won": {"connections": ["crm"], "on": "changed", "field": "stage", "to": "won", "message": "Hi"}},
        "alerts": {"channels": {"ops": {"kind": "slack", "webhook_url": "http://127.0.0.1:1/x"}}, "digest": "08:00"},
    }
    if store:
        settings["store"] = {"url": store}
    runtime = Runtime(Settings.model_validate(settings))
    migrate(runtime.engine)
    with writing(runtime.engine) as connection:
        create_user(connection, "bench", "admin", PASSWORD, by="bench", now=utcnow())
    return runtime


def fill(runtime: Runtime, contacts: int, messages: int) -> None:
    """Fill the store."""
    from sqlalchemy import insert

    from worker.store import tables
    from worker.store.db import writing
    from worker.store.models import utcnow
    from worker.store.sql import analyse

    now, chance = utcnow(), random.Random(1)
    rows = (
        (tables.contact, contact_rows(contacts, now)),
        (tables.contact_mapping, mapping_rows(contacts, now)),
        (tables.message, message_rows(contacts, messages, now, chance)),
        (tables.rejected_record, rejected_rows(contacts // 20, now)),
        (tables.number_review, review_rows(contacts // 1000, now)),
        (tables.delivery, delivery_rows(messages // 100, now)),
        (tables.inbox_event, inbox_rows(messages // 100, now)),
        (tables.sync_run, run_rows(5000, now)),
        (tables.alert, alert_rows(500, now)),
    )
    for table, made in rows:
        while portion := list(islice(made, PORTION)):
            with writing(runtime.engine) as connection:
                connection.execute(insert(table), portion)
    analyse(runtime.engine, "contact", "contact_mapping", "message", "rejected_record", "forward")


def contact_rows(contacts: int, now: datetime) -> Iterator[dict[str, Any]]:
    states = {0: "rejected", 1: "due", 2: "unknown"}
    for n in range(contacts):
        yield {
            **{"id": n + 1, "account": "main", "phone": number(n), "full_name": f"Ada Person {n}", "email": ""},
            **{"wanted_hash": b"1", "pushed_hash": b"1", "pushed_at": now - MONTH, "virtualtext_id": f"v{n}"},
            **{"push_state": states.get(n % 1000, "synced"), "attempts": 9 if n % 1000 == 1 else 1},
            **{"attempted_at": now - timedelta(seconds=n), "last_error": "", "created_at": now - MONTH},
        }


def mapping_rows(contacts: int, now: datetime) -> Iterator[dict[str, Any]]:
    for n in range(contacts):
        yield {
            **{"connection": ("crm", "shop")[n % 2], "external_id": str(n), "contact_id": n + 1, "record_hash": b"1"},
            **{"properties": '{"stage": "won"}', "full_name": f"Ada Person {n}", "email": "", "revision": 1},
            **{"first_seen_at": now - MONTH, "changed_at": now - MONTH},
        }


def message_rows(contacts: int, messages: int, now: datetime, chance: random.Random) -> Iterator[dict[str, Any]]:
    """Yield a month of texts: one in 100 waits, most of these for an approval."""
    ended = ("delivered", "delivered", "delivered", "accepted", "confirmed", "suppressed", "failed")
    waits = (
        *[("held", "approval: 500 people in one sync")] * 6,
        ("held", "time_zone: it is not known"),
        ("held", "breaker: it fires unusually often"),
        ("unknown", "no_response: the connection broke"),
        ("queued", ""),
    )
    for n in range(messages):
        at = now - MONTH + MONTH * (n / messages)
        state, reason = waits[n // 100 % len(waits)] if n % 100 == 0 else (ended[n % len(ended)], "")
        yield {
            "id": f"{int(at.timestamp() * 1000) << 80 | n:032x}",
            **{"account": "main", "kind": "send", "state": state, "reason": reason, "from_number": "+14155550100"},
            **{"to_number": number(chance.randrange(contacts)), "text": "Hi Ada, your table is ready. Reply STOP."},
            **{"media": "[]", "segments": 1, "source": "trigger", "trigger": "won", "connection": "crm"},
            **{"external_id": str(n % contacts), "batch_id": f"batch{n * 5 // messages}", "idempotency_key": str(n)},
            **{"payload_hash": "", "created_at": at, "due_at": at, "expires_at": at + MONTH, "attempts": 1},
            **{"attempted_at": at},
        }


def rejected_rows(count: int, now: datetime) -> Iterator[dict[str, Any]]:
    for n in range(count):
        yield {
            **{"connection": ("crm", "shop")[n % 2], "key": f"r{n}", "code": "no_phone", "where": f"row {n}"},
            **{"reason": f"the phone {n} has too few digits to be a number", "excerpt": "Ada, 555"},
            **{"since": now - timedelta(minutes=n), "seen_at": now},
        }


def review_rows(count: int, now: datetime) -> Iterator[dict[str, Any]]:
    for n in range(count):
        yield {"phone": number(n), "since": now - timedelta(minutes=n), "excerpt": "enough", "account": "main"}


def delivery_rows(count: int, now: datetime) -> Iterator[dict[str, Any]]:
    for n in range(count):
        at = now - timedelta(minutes=n)
        yield {
            **{"event_id": f"e{n}", "target": "alert:ops" if n % 10 == 0 else "subscriber:shop"},
            **{"type": "alert.notice" if n % 10 == 0 else "message.sent", "payload": "{}", "created_at": at},
            **{"state": "failed" if n % 50 == 0 else "done", "due_at": at, "attempts": 1, "last_error": ""},
        }


def inbox_rows(count: int, now: datetime) -> Iterator[dict[str, Any]]:
    for n in range(count):
        at = now - timedelta(minutes=n)
        yield {
            **{"id": n + 1, "source": "relay", "name": "main", "received_at": at, "payload": "{}", "attempts": 1},
            **{"state": "failed" if n % 1000 == 0 else "done", "detail": "", "due_at": at},
        }


def run_rows(count: int, now: datetime) -> Iterator[dict[str, Any]]:
    for n in range(count):
        at = now - timedelta(minutes=5 * (count - n))
        yield {
            **{"id": n + 1, "connection": ("crm", "shop")[n % 2], "state": "done", "started_at": at},
            **{"finished_at": at + timedelta(seconds=9), "batch_id": f"b{n}", "seen": 500 + n % 90, "unchanged": 500},
            **{"added": 1, "changed": 2, "removed": 0, "rejected": 0, "messages": 3, "error": ""},
        }


def alert_rows(count: int, now: datetime) -> Iterator[dict[str, Any]]:
    for n in range(count):
        at = now - timedelta(hours=n)
        yield {
            **{"id": n + 1, "key": f"sync_failed:connection {n}", "kind": "sync_failed", "urgent": False},
            **{"found": f"connection {n}: its last sync failed", "remedy": "run `vtsync sync crm`", "since": at},
            **{"seen_at": at, "raised_at": at, "told_at": at, "told_urgent": False},
            **{"ended_at": None if n < 5 else at + timedelta(minutes=30), "end_told_at": None},
        }


def measure(found: Results, http: TestClient, rounds: int) -> None:
    for place, goal in PLACES.items():
        seconds, answer = [], None
        for _ in range(rounds):
            began = time.perf_counter()
            answer = http.get(place)
            seconds.append(time.perf_counter() - began)
            assert answer.status_code == 200, (place, answer.text)
        assert answer is not None
        size = len(answer.content) / 1000
        bound = None if goal is None else Goal(goal, at_most=True)
        found.add(place, statistics.median(seconds) * 1000, "ms", bound, f"at most {max(seconds) * 1000:.0f} ms")
        found.add(f"{place}: size", size, "KB", Goal(MOST_KB, at_most=True))


def run(options: argparse.Namespace, stack: ExitStack, folder: Path, found: Results) -> None:
    from fastapi.testclient import TestClient

    from tests.faults.servers import own_schema
    from worker.core.logs import set_up_logging
    from worker.web.app import create_app
    from worker.web.pages import overview

    set_up_logging("error")
    store = stack.enter_context(own_schema(options.store)) if options.store else None
    runtime = open_store(folder, store)
    fill(runtime, options.contacts, options.messages)
    overview.FRESH = timedelta(0)
    http = stack.enter_context(TestClient(create_app(runtime), follow_redirects=False))
    fields = {"name": "bench", "password": PASSWORD}
    assert http.post("/ui/sign-in", data=fields, headers={"Origin": "http://testserver"}).status_code == 303
    measure(found, http, options.rounds)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--contacts", type=int, default=100_000)
    made.add_argument("--messages", type=int, default=1_000_000)
    made.add_argument("--rounds", type=int, default=9)
    made.add_argument("--store", help="a PostgreSQL database (default: a new SQLite file)")
    options = made.parse_args()
    title = f"Pages over {options.contacts:,} contacts and {options.messages:,} messages"
    title += f", store {'PostgreSQL' if options.store else 'SQLite'}"
    with ExitStack() as stack, results(title, options) as found:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vtsync-bench-")))
        run(options, stack, folder, found)


if __name__ == "__main__":
    main()

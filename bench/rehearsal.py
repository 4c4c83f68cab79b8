"""Measures `vtsync policy what-if` and `vtsync triggers backtest` over the history of a large store.

    python bench/rehearsal.py [--messages 1000000] [--contacts 100000] [--days 30] [--postgres URL] [--profile]

The store gets texts of a trigger over ``--days``, and as many changes of CRM records as there are texts. Then each
command looks at all of it, in a process of its own, whose peak memory is measured.
"""

from __future__ import annotations

import argparse
import cProfile
import multiprocessing
import pstats
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import orjson
from sqlalchemy import Engine, insert
from sqlmodel import SQLModel

from bench.results import parser, results
from config.models import Account, Connection, Settings, Store
from config.policy import Policy
from config.triggers import ChangedTrigger
from tests.faults.crowd import number
from tests.faults.servers import own_schema
from worker.core.states import MessageKind, MessageState, PushState, RunState
from worker.rehearsal.backtest import backtest
from worker.rehearsal.what_if import changed_policy, what_if
from worker.runtime import Runtime
from worker.store.db import open_engine, writing
from worker.store.ids import first_id_at
from worker.store.models import utcnow
from worker.store.tables import connection_state, contact, contact_mapping, message, record_change, sync_run

FROM = "+12025550100"
PAGE = 10_000
RUNS_A_DAY = 24
TRIGGER = ChangedTrigger(
    connections="crm",
    on="changed",
    field="stage",
    message="Order {{ order }} is at stage {{ stage }}.",
)  # type: ignore[arg-type]


def settings(url: str) -> Settings:
    account = Account(uid="nobody", token="unused-token", from_number=FROM)
    return Settings(
        accounts={"main": account},
        connections={"crm": Connection(adapter="csv", account="main")},
        triggers={"stage": TRIGGER},
        policy=Policy(blast_limit=1_000_000, max_per_contact=3),
        store=Store(url=url),
    )


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--messages", type=int, default=1_000_000)
    made.add_argument("--contacts", type=int, default=100_000)
    made.add_argument("--days", type=int, default=30)
    made.add_argument("--postgres", metavar="URL", help="use this store instead of SQLite, in a temporary schema")
    made.add_argument("--profile", action="store_true", help="print where the time goes; slower")
    options = made.parse_args()
    title = f"What-if and backtest of {options.days} days: {options.messages:,} texts, {options.contacts:,} records"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vtsync-bench-")))
        server = options.postgres
        url = stack.enter_context(own_schema(server)) if server else f"sqlite:///{folder}/store.sqlite3"
        engine = open_engine(url)
        SQLModel.metadata.create_all(engine)
        fill(engine, options.messages, options.contacts, options.days)
        with results(title, options) as found:
            for name in ("what-if", "backtest"):
                figures = measured(name, url, options)
                found.add(f"{name}, texts", figures["texts"])
                found.add(f"{name}, duration", figures["seconds"], "s")
                found.add(f"{name}, texts per second", figures["texts"] / figures["seconds"], "/s")
                found.add(f"{name}, peak memory", figures["megabytes"], "MB")


def measured(name: str, url: str, options: argparse.Namespace) -> dict[str, float]:
    """Run one command in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(run, name, url, options.days, options.profile).result()


def run(name: str, url: str, days: int, profile: bool) -> dict[str, float]:
    runtime = Runtime(settings(url))
    profiler = cProfile.Profile()
    began = time.monotonic()
    if profile:
        profiler.enable()
    if name == "what-if":
        policy = changed_policy(runtime.settings.policy, ["max_per_contact=1", "text_until=18:00"])
        texts = what_if(runtime, policy, days).texts
    else:
        texts = backtest(runtime, "stage", days).made
    seconds = time.monotonic() - began
    if profile:
        profiler.disable()
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(35)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"texts": texts, "seconds": seconds, "megabytes": megabytes}


def fill(engine: Engine, messages: int, contacts: int, days: int) -> None:
    """Write the history that a fleet would have written in these days."""
    rng, now = random.Random(1), utcnow()
    start = now - timedelta(days=days) + timedelta(minutes=10)
    versions = messages // contacts + 1
    _insert(engine, contact, _contacts(contacts, start))
    _insert(engine, contact_mapping, _mappings(contacts, versions, start, now))
    moments = sorted(start + (now - start) * rng.random() for _ in range(messages))
    _insert(engine, record_change, _changes(moments, contacts))
    _insert(engine, message, _messages(moments, contacts))
    with writing(engine) as db:
        known = start - timedelta(days=1)
        db.execute(insert(connection_state), {"connection": "crm", "baseline_at": known, "confirmed_at": known})
        step = timedelta(hours=24 / RUNS_A_DAY)
        runs = [
            {"connection": "crm", "state": RunState.DONE, "started_at": known + step * n, "batch_id": f"run-{n}"}
            for n in range((days + 1) * RUNS_A_DAY)
        ]
        db.execute(insert(sync_run), runs)


def _insert(engine: Engine, table: Any, rows: Iterator[dict[str, Any]]) -> None:
    page = []
    for row in rows:
        page.append(row)
        if len(page) == PAGE:
            with writing(engine) as db:
                db.execute(insert(table), page)
            page = []
    if page:
        with writing(engine) as db:
            db.execute(insert(table), page)


def _contacts(contacts: int, start: datetime) -> Iterator[dict[str, Any]]:
    known = {"account": "main", "full_name": "Ada Okoro", "email": "", "wanted_hash": b"1"}
    for n in range(contacts):
        yield known | {"phone": _number(n), "push_state": PushState.SYNCED, "created_at": start}


def _mappings(contacts: int, versions: int, start: datetime, now: datetime) -> Iterator[dict[str, Any]]:
    known = {"connection": "crm", "record_hash": b"1", "full_name": "Ada Okoro", "email": ""}
    before = start - timedelta(days=1)
    for n in range(contacts):
        stage = orjson.dumps({"order": str(n), "stage": str(versions - 1)}).decode()
        times = {"first_seen_at": before, "changed_at": now}
        yield known | times | {"external_id": str(n), "contact_id": n + 1, "properties": stage, "revision": versions}


def _changes(moments: list[datetime], contacts: int) -> Iterator[dict[str, Any]]:
    for n, at in enumerate(moments):
        revision = n // contacts + 2
        before = orjson.dumps({"was": {"stage": str(revision - 2)}, "new": []}).decode()
        yield {
            "connection": "crm",
            "external_id": str(n % contacts),
            "revision": revision,
            "at": at,
            "before": before,
        }


def _messages(moments: list[datetime], contacts: int) -> Iterator[dict[str, Any]]:
    known = {
        "account": "main",
        "kind": MessageKind.SEND,
        "state": MessageState.ACCEPTED,
        "reason": "",
        "from_number": FROM,
        "source": "trigger",
        "trigger": "stage",
        "connection": "crm",
        "payload_hash": "",
    }
    for n, at in enumerate(moments):
        who = n % contacts
        yield known | {
            "id": f"{first_id_at(at)[:12]}{n:020x}",
            "to_number": _number(who),
            "text": f"Order {who} is at stage {n // contacts + 1}.",
            "external_id": str(who),
            "batch_id": f"crm:run-{at:%d%H}",
            "idempotency_key": f"{who}:{n}",
            "created_at": at,
            "due_at": at,
            "attempted_at": at + timedelta(seconds=2),
            "expires_at": at + timedelta(hours=24),
        }


def _number(index: int) -> str:
    return number(index % 80_000) if index < 80_000 else f"+1646555{index - 80_000:04d}"


if __name__ == "__main__":
    main()

"""Trigger events replayed twice in random order by two workers that are killed: each occurrence texts at most once.

    python bench/triggers.py [--events 100000] [--kills 20] [--postgres URL] [--seed N]

Every event is a new version of a CRM record that a trigger watches. Two processes insert the texts of random pages of
events, as a sync does, each page in one transaction; both are killed with -9 again and again, and begin anew with all
that is not done. In the end every occurrence must be in the outbox exactly once, and then be sent exactly once.
Exits 1 otherwise.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from sqlalchemy import func, select
from sqlmodel import SQLModel

from config.models import Settings, Trigger
from config.policy import Policy
from tests.faults.servers import own_schema
from worker.messages.outbox import insert_intents
from worker.messages.triggers import RecordEvent, TextIntent, compile_rules, evaluate
from worker.store.db import open_engine, reading, writing
from worker.store.models import utcnow
from worker.store.tables import message

PAGE = 100
VERSIONS = 5
AT = datetime(2026, 3, 1, tzinfo=UTC)
SETTINGS = Settings(
    triggers={
        "ready": Trigger(connections="crm", on="changed", field="status", message="Your order {{ order }} is ready."),  # type: ignore[arg-type]
    }
)
POLICY = Policy(quiet_hours="none")


def event(number: int) -> RecordEvent:
    """The n-th event: one of five versions of a record."""
    record, version = divmod(number, VERSIONS)
    old, new = ({"order": str(record), "status": str(one)} for one in (version, version + 1))
    return RecordEvent("crm", str(record), None, f"+1415{record:07d}", "Ada", "", "changed", old, new, version + 2, AT)


def intents(numbers: list[int]) -> list[TextIntent]:
    """The texts of these events."""
    rules = compile_rules(SETTINGS)["crm"]
    return [intent for number in numbers for intent in evaluate(rules, event(number))]


def work(url: str, numbers: list[int], seed: int) -> None:
    """Insert all events in random order, a page a transaction, then all of them once more."""
    engine, rng = open_engine(url), random.Random(seed)
    for _ in range(2):
        rng.shuffle(numbers)
        for start in range(0, len(numbers), PAGE):
            with writing(engine) as connection:
                insert_intents(
                    connection,
                    "main",
                    "+14155550100",
                    f"run-{seed}",
                    intents(numbers[start : start + PAGE]),
                    POLICY,
                    utcnow(),
                )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--postgres", metavar="URL", help="a store instead of SQLite; a schema of its own is used")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vtsync-bench-")))
        url = (
            stack.enter_context(own_schema(options.postgres))
            if options.postgres
            else f"sqlite:///{folder}/store.sqlite3"
        )
        return run(url, options.events, options.kills, options.seed)


def run(url: str, events: int, kills: int, seed: int) -> int:
    engine = open_engine(url)
    SQLModel.metadata.create_all(engine)
    print(f"{events:,} events, each twice in random order, two workers, {kills} kills, seed {seed}", flush=True)
    began, killed = time.monotonic(), _insert(url, events, kills, seed)
    with reading(engine) as connection:
        rows = connection.scalar(select(func.count()).select_from(message)) or 0
        occurrences = connection.scalar(select(func.count(message.c.idempotency_key.distinct()))) or 0
    right = rows == occurrences == events
    for what, figure in (
        ("workers killed with -9", killed),
        ("texts in the outbox", rows),
        ("occurrences among them", occurrences),
        ("seconds", round(time.monotonic() - began)),
    ):
        print(f"  {what:<26} {figure:,}")
    print("  each occurrence once" if right else "  BROKEN: an occurrence is missing or doubled")
    return 0 if right else 1


def _insert(url: str, events: int, kills: int, seed: int) -> int:
    """Two workers until both have ended by themselves; returns how many were killed."""
    rng, context, killed = random.Random(seed), multiprocessing.get_context("spawn"), 0
    numbers = list(range(events))
    workers = [context.Process(target=work, args=(url, numbers, seed + index)) for index in range(2)]
    for worker in workers:
        worker.start()
    pause = max(1.5, events / 100_000 * 3)
    while any(worker.is_alive() for worker in workers):
        deadline = time.monotonic() + rng.uniform(pause * 0.5, pause * 1.5)
        while time.monotonic() < deadline and any(worker.is_alive() for worker in workers):
            time.sleep(0.05)
        alive = [index for index, worker in enumerate(workers) if worker.is_alive()]
        if killed < kills and alive:
            index = rng.choice(alive)
            os.kill(workers[index].pid or 0, signal.SIGKILL)
            workers[index].join()
            killed += 1
            workers[index] = context.Process(target=work, args=(url, numbers, seed + 100 + killed))
            workers[index].start()
    assert all(worker.exitcode == 0 for worker in workers), [worker.exitcode for worker in workers]
    return killed


if __name__ == "__main__":
    sys.exit(main())

"""Replays trigger events twice, in random order, with workers that are killed: each may text at most once.

    python bench/triggers.py [--events 100000] [--sends N] [--kills 20] [--postgres URL] [--seed N]

Each event is a new version of a CRM record that a trigger watches. Two processes insert the texts of random pages of
events, as a sync does, each page in one transaction, and then all of them once more in another order. Then two
processes send the outbox to a sandbox. All of them are killed with -9 again and again, and restarted.

Meanwhile people answer, and the trigger stops on a reply.

In the end every occurrence must be in the outbox once, and the sandbox must not have a text twice, nor one that began
after a reply was stored. A text whose worker was killed during the request must be accepted or unknown. Exits with 1
otherwise. ``--sends`` limits how many of the texts are sent (default: all).
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import structlog
from sqlalchemy import Connection as Database
from sqlalchemy import Engine, func, select, update
from sqlalchemy import insert as plain_insert
from sqlmodel import SQLModel

from config.models import Account, Connection, Settings, Store
from config.policy import Policy
from config.triggers import ChangedTrigger
from tests.faults.crowd import number
from tests.faults.servers import own_schema
from worker.core.states import MessageState
from worker.messages.batches import release_or_hold_batch
from worker.messages.delivery import deliver_due
from worker.messages.intents import insert_intents
from worker.messages.policy_facts import recipient_lock
from worker.messages.states import MAY_HAVE_GONE_OUT
from worker.runtime import Runtime
from worker.sandbox import Sandbox
from worker.store.db import open_engine, reading, writing
from worker.store.ids import new_message_id
from worker.store.models import utcnow
from worker.store.sql import lock_account
from worker.store.tables import contact, contact_mapping, inbound_message, message
from worker.triggers.evaluate import TextIntent, evaluate
from worker.triggers.kinds import RecordEvent
from worker.triggers.rules import compile_rules

PAGE = 100
FROM = "+12025550100"
VERSIONS = 5
SHARE_OF_REPLIES = 0.05
"""Of the people."""
TRIGGERS = {
    "stage": ChangedTrigger(
        connections="crm",
        on="changed",
        field="stage",
        message="Order {{ order }} is at stage {{ stage }}.",
        stop_on_reply=True,
    ),  # type: ignore[arg-type]
}
POLICY = Policy(quiet_hours="none", expires_after=timedelta(days=7))
SETTINGS = Settings(triggers=TRIGGERS, policy=POLICY)
RULES = compile_rules(SETTINGS)["crm"]


def event(index: int) -> RecordEvent:
    """Return event number n: one of five versions of a record."""
    record, version = divmod(index, VERSIONS)
    old, new = ({"order": str(record), "stage": str(one)} for one in (version, version + 1))
    return RecordEvent("crm", str(record), None, number(record), "Ada", "", old, new, version + 2)


def intents(numbers: list[int]) -> list[TextIntent]:
    """Return the texts of these events."""
    return [intent for index in numbers for intent in evaluate(RULES, event(index))]


def insert(url: str, numbers: list[int], seed: int) -> None:
    """Insert all events in random order, one transaction a page, and then all of them once more."""
    engine, rng = open_engine(url), random.Random(seed)
    for _ in range(2):
        rng.shuffle(numbers)
        for start in range(0, len(numbers), PAGE):
            with writing(engine) as connection:
                insert_intents(
                    connection,
                    "main",
                    FROM,
                    f"run-{seed}",
                    intents(numbers[start : start + PAGE]),
                    SETTINGS,
                    utcnow(),
                )


def send(settings: Settings) -> None:
    """Send until every text has a final state."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    runtime = Runtime(settings)
    while ended(runtime.settings.database_url()) is None:
        deliver_due(runtime)
        time.sleep(0.5)


def ended(url: str) -> Counter[str] | None:
    """Return the number of texts by final state; None while some have none."""
    with reading(open_engine(url)) as connection:
        due = select(message.c.state, func.count()).where(message.c.due_at <= utcnow())
        rows = connection.execute(due.group_by(message.c.state))
        states = Counter(dict(map(tuple, rows)))
    return None if states.keys() & {MessageState.QUEUED, MessageState.DISPATCHING} else states


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--sends", type=int, help="send only this many texts (default: all)")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--postgres", metavar="URL", help="use this store instead of SQLite, in a temporary schema")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vtsync-bench-")))
        url = (
            stack.enter_context(own_schema(options.postgres))
            if options.postgres
            else f"sqlite:///{folder}/store.sqlite3"
        )
        return run(url, options.events, options.sends or options.events, options.kills, options.seed)


def run(url: str, events: int, sends: int, kills: int, seed: int) -> int:
    engine, rng = open_engine(url), random.Random(seed)
    SQLModel.metadata.create_all(engine)
    print(f"{events:,} events, each twice in random order, two workers, {kills} kills, seed {seed}", flush=True)
    with writing(engine) as connection:
        _records(connection, -(-events // VERSIONS))
    numbers, began, first = list(range(events)), time.monotonic(), kills - kills // 2
    pause = max(1.5, events / 100_000 * 3)
    moments = list(accumulate(rng.uniform(0.5, 1.5) * pause for _ in range(first)))
    killed = _killed(
        insert,
        lambda started: (url, numbers, seed + started),
        lambda killed: time.monotonic() > began + moments[killed],
        first,
        rng,
    )
    with reading(engine) as connection:
        rows = connection.scalar(select(func.count()).select_from(message)) or 0
        occurrences = connection.scalar(select(func.count(message.c.idempotency_key.distinct()))) or 0
    _show({"workers killed": killed, "texts in the outbox": rows, "occurrences": occurrences}, began)
    with Sandbox() as sandbox:
        began = time.monotonic()
        settings = _settings(url, sandbox)
        for batch in {f"run-{seed + started}" for started in range(killed + 2)}:
            with writing(engine) as connection:
                release_or_hold_batch(connection, batch, events, utcnow(), POLICY)
        with writing(engine) as connection:
            rest = select(message.c.id).order_by(message.c.payload_hash).offset(sends)
            connection.execute(
                update(message).where(message.c.id.in_(rest)).values(due_at=datetime(2100, 1, 1, tzinfo=UTC))
            )
        with _answering(engine, sandbox, sends, -(-events // VERSIONS), rng):
            killed = _killed(
                send,
                lambda _: (settings,),
                lambda killed: len(sandbox.state.messages) > (killed + rng.random()) * sends / (kills // 2 + 1),
                kills // 2,
                rng,
            )
        sent = Counter((one.to, one.text) for one in sandbox.messages("sent_by_platform"))
    states, twice = ended(url) or Counter(), sum(1 for times in sent.values() if times > 1)
    accepted, unknown = states[MessageState.ACCEPTED], states[MessageState.UNKNOWN]
    stopped, late = states[MessageState.SUPPRESSED], _sent_after_a_reply(engine)
    figures = {"workers killed": killed, "texts in the sandbox": len(sent), "texted twice": twice}
    figures |= {"known as accepted": accepted, "known as unknown": unknown}
    _show(figures | {"stopped by a reply": stopped, "begun after a reply": late}, began)
    right = rows == occurrences == events and accepted + unknown + stopped == sends
    right = right and not twice and not late and accepted <= len(sent) <= sends
    print("  each occurrence once" if right else f"  BROKEN: {dict(states)}")
    return 0 if right else 1


@contextmanager
def _answering(engine: Engine, sandbox: Sandbox, sends: int, people: int, rng: random.Random) -> Iterator[None]:
    """Let some people answer, one after the other, while the texts go out."""
    who, over = rng.sample(range(people), int(people * SHARE_OF_REPLIES)), threading.Event()

    def answer() -> None:
        for index, person in enumerate(who):
            while len(sandbox.state.messages) < index * sends / len(who):
                if over.wait(0.01):
                    return
            with writing(engine) as connection:
                lock_account(connection, recipient_lock(number(person)))
                row = {"id": new_message_id(), "account": "main", "from_number": number(person), "to_number": FROM}
                row |= {"text": "Yes", "media": "[]", "keyword": "", "received_at": utcnow()}
                connection.execute(plain_insert(inbound_message), row)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _sent_after_a_reply(engine: Engine) -> int:
    """Count the texts whose dispatch was committed after their receiver's reply."""
    m, i = message.c, inbound_message.c
    late = select(func.count()).where(
        m.to_number == i.from_number, m.state.in_(MAY_HAVE_GONE_OUT), m.attempted_at > i.received_at
    )
    with reading(engine) as connection:
        return connection.scalar(late) or 0


def _settings(url: str, sandbox: Sandbox) -> Settings:
    account = Account(
        uid="sandbox",
        token="sandbox-token",
        from_number=FROM,
        api_url=sandbox.api_url,
        create_url=sandbox.create_url,
        connect_timeout=2,
        read_timeout=5,
        concurrency=8,
    )
    crm = Connection(adapter="csv", account="main")
    return Settings(
        accounts={"main": account},
        connections={"crm": crm},
        triggers=TRIGGERS,
        policy=POLICY,
        store=Store(url=url),
    )


def _killed(
    target: Callable[..., None],
    arguments: Callable[[int], tuple[object, ...]],
    due: Callable[[int], bool],
    kills: int,
    rng: random.Random,
) -> int:
    """Run two workers until both have ended by themselves. Return how many were killed.

    ``due`` says, with the number of those killed so far, whether it is time for the next.
    """
    context, killed = multiprocessing.get_context("spawn"), 0

    def start(number: int) -> multiprocessing.process.BaseProcess:
        worker = context.Process(target=target, args=arguments(number))
        worker.start()
        return worker

    workers = [start(0), start(1)]
    while alive := [index for index, worker in enumerate(workers) if worker.is_alive()]:
        time.sleep(0.02)
        if killed < kills and due(killed):
            index = rng.choice(alive)
            os.kill(workers[index].pid or 0, signal.SIGKILL)
            workers[index].join()
            workers[index] = start(killed + 2)
            killed += 1
    assert all(worker.exitcode == 0 for worker in workers), [worker.exitcode for worker in workers]
    return killed


def _records(connection: Database, count: int) -> None:
    """Insert the CRM records of the events, as a sync stores them."""
    now = utcnow()
    known = {"account": "main", "full_name": "Ada", "email": "", "wanted_hash": b"1", "push_state": "synced"}
    contacts = [known | {"phone": number(record), "created_at": now} for record in range(count)]
    connection.execute(plain_insert(contact), contacts)
    ids = dict(map(tuple, connection.execute(select(contact.c.phone, contact.c.id))))
    same = {"connection": "crm", "record_hash": b"1", "properties": "{}", "revision": 1, "full_name": "", "email": ""}
    connection.execute(
        plain_insert(contact_mapping),
        [
            same
            | {"external_id": str(record), "contact_id": ids[number(record)], "first_seen_at": now, "changed_at": now}
            for record in range(count)
        ],
    )


def _show(figures: dict[str, int], began: float) -> None:
    for what, figure in (figures | {"seconds": round(time.monotonic() - began)}).items():
        print(f"  {what:<26} {figure:,}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

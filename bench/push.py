"""Measures a push end to end: Celery task, claims in the store, requests, storing the results.

    python bench/push.py [--contacts 10000] [--latency-ms 0 5 50] [--concurrency 16 32 100] [--rounds 3]
                         [--broker redis://127.0.0.1:6379/7] [--store postgresql+psycopg://...]

The reference is the product's own client in a bare loop with the same number of threads, which sends the same requests
to the same server and does nothing else. Both take turns. Two worker processes are compared with one. Each process has
its own core, also the bare loop. The ratios are the result; absolute figures vary with the load of the machine.
``--store`` uses a temporary schema. The broker's database is emptied before and after.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from sqlalchemy import Engine, func, select, update  # noqa: E402

from bench.client import fake_server  # noqa: E402
from bench.engines import engines  # noqa: E402
from bench.results import Goal, Results, parser, results  # noqa: E402
from bench.sync import make_csv  # noqa: E402
from worker.core.states import PushState  # noqa: E402
from worker.runtime import Runtime, open_runtime  # noqa: E402
from worker.store.db import reading, writing  # noqa: E402
from worker.store.migrate import migrate  # noqa: E402
from worker.store.models import utcnow  # noqa: E402
from worker.store.tables import contact  # noqa: E402
from worker.virtualtext.client import VirtualTextClient  # noqa: E402
from worker.virtualtext.outcomes import ContactBody, Endpoint  # noqa: E402

GOALS = {0.0: Goal(0.6), 50.0: Goal(0.8)}
WAKE_SECONDS = 0.1


def bare_loop(base: str, contacts: int, concurrency: int) -> float:
    """Return the creates per second of the client alone."""
    client = VirtualTextClient(Endpoint("uid", "token", base, base, concurrency=concurrency))
    waiting = deque(range(contacts))

    def work() -> None:
        while True:
            try:
                index = waiting.popleft()
            except IndexError:
                return
            assert client.create_contact(ContactBody(f"+1415{index:07d}", "Ada Lovelace", "ada@example.com")).done

    threads = [threading.Thread(target=work) for _ in range(concurrency)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return contacts / (time.perf_counter() - began)


def configure(folder: Path, base: str, contacts: int, concurrency: int, options: argparse.Namespace) -> Runtime:
    """Prepare a store in which every contact is new to VirtualText."""
    make_csv(folder / "people.csv", contacts)
    (folder / "vtsync.toml").write_text(
        f"""
data_dir = "data"
[accounts.main]
uid = "uid"
token = {{ env = "BENCH_TOKEN" }}
from_number = "+12025550100"
api_url = "{base}"
create_url = "{base}"
concurrency = {concurrency}
[connections.people]
adapter = "csv"
account = "main"
default_region = "US"
options = {{ path = "people.csv", settle_seconds = 0 }}
{engines(options.broker, options.store)}
""",
        encoding="utf-8",
    )
    os.environ |= {"VTSYNC_CONFIG": str(folder / "vtsync.toml"), "BENCH_TOKEN": "token", "VTSYNC_LOG_LEVEL": "error"}
    os.chdir(folder)
    runtime = open_runtime()
    migrate(runtime.engine)
    from worker.contacts.pull import sync_connection

    report = sync_connection(runtime, "people")
    assert report.state == "done", report
    return runtime


@contextmanager
def workers(folder: Path, processes: int) -> Iterator[None]:
    """Run worker processes, each on its own core as long as there are enough cores."""
    cores = sorted(os.sched_getaffinity(0))
    started = []
    for index in range(processes):
        log = (folder / f"worker-{index}.log").open("wb")
        command = ["taskset", "-c", str(cores[index % len(cores)]), sys.executable, "-m", "worker.cli", "worker"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        started.append(subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment))
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def on_one_core(base: str, contacts: int, concurrency: int) -> float:
    """Run the bare loop in its own process, on the core of a worker."""
    core = {min(os.sched_getaffinity(0))}
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), os.sched_setaffinity, (0, core)) as process:
        return process.submit(bare_loop, base, contacts, concurrency).result()


def is_done(engine: Engine) -> bool:
    """Return whether nothing is due or in flight. One query of an index, so that it does not slow the workers."""
    open_states = (PushState.DUE, PushState.CREATING, PushState.UPDATING)
    c = contact.c
    found = select(c.id).where(c.account == "main", c.push_state.in_(open_states)).limit(1)
    with reading(engine) as db:
        return db.scalar(found) is None


def push(runtime: Runtime, contacts: int) -> float:
    """Return the creates per second of running workers, from the first wake to the last stored result."""
    from worker.fleet.wake import wake

    with writing(runtime.engine) as db:  # due again, as if they had never been pushed
        again = {"push_state": PushState.DUE, "pushed_hash": None, "virtualtext_id": None, "next_attempt_at": utcnow()}
        db.execute(update(contact).values(**again))
    began, woken_at = time.perf_counter(), 0.0
    while not is_done(runtime.engine):
        assert time.perf_counter() - began < 600
        # Wake repeatedly, as a running sync does, so that every process is woken; more often, as this takes seconds.
        if time.perf_counter() - woken_at > WAKE_SECONDS:
            wake("vtsync.push_contacts", "main")
            woken_at = time.perf_counter()
        time.sleep(0.02)
    seconds = time.perf_counter() - began
    with reading(runtime.engine) as db:
        synced = db.scalar(select(func.count()).where(contact.c.push_state == PushState.SYNCED))
    assert synced == contacts, synced
    return contacts / seconds


def measure(latency: float, concurrency: int, options: argparse.Namespace) -> list[dict[int, float]]:
    """Return the contacts per second of each round by the number of worker processes; 0 is the client alone."""
    with tempfile.TemporaryDirectory(prefix="vtsync-bench-") as name, fake_server(latency) as base:
        folder, contacts = Path(name), options.contacts
        runtime = configure(folder, base, contacts, concurrency, options)
        found = []
        for _ in range(options.rounds):
            rates = {0: on_one_core(base, contacts, concurrency)}
            for processes in options.processes:
                with workers(folder, processes):
                    push(runtime, contacts)  # warm-up of processes, connections and caches
                    rates[processes] = push(runtime, contacts)
            found.append(rates)
        os.chdir(ROOT)
        return found


def show(latency: float, rounds: list[dict[int, float]], found: Results) -> None:
    ratios = [
        (1, 0, "one worker against the client", GOALS.get(latency)),
        (2, 1, "two workers against one", Goal(1.8) if latency == 50 else None),
    ]
    for many, few, what, goal in ratios:
        if many in rounds[0]:
            ratio = statistics.median(rates[many] / rates[few] for rates in rounds)
            sides = [statistics.median(rates[side] for rates in rounds) for side in (many, few)]
            found.add(f"{latency:g} ms: {what}", ratio, "", goal, f"{sides[0]:,.0f} / {sides[1]:,.0f} contacts/s")


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--contacts", type=int, default=10_000)
    made.add_argument("--latency-ms", type=float, nargs="+", default=[0, 5, 50])
    made.add_argument("--concurrency", type=int, nargs="+", default=[16, 32, 100], help="one for each latency")
    made.add_argument("--processes", type=int, nargs="*", default=[1, 2])
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--broker", help="redis://... or amqp://... (default: files)")
    made.add_argument("--store", help="a PostgreSQL database (default: a new SQLite file)")
    options = made.parse_args()
    store = "PostgreSQL" if options.store else "SQLite"
    broker = (options.broker or "files").split(":", 1)[0]
    with results(f"Push of {options.contacts:,} contacts, broker {broker}, store {store}", options) as found:
        for latency, concurrency in zip(options.latency_ms, options.concurrency, strict=True):
            show(latency, alone(latency, concurrency, options), found)


def alone(latency: float, concurrency: int, options: argparse.Namespace) -> list[dict[int, float]]:
    """Run in a separate process, as a process has one configuration, with an empty broker and store."""
    from tests.faults.servers import empty_redis, own_schema

    with ExitStack() as stack:
        given = argparse.Namespace(**vars(options))
        given.store = stack.enter_context(own_schema(given.store)) if given.store else None
        if (given.broker or "").startswith("redis"):
            stack.enter_context(empty_redis(given.broker))
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            return process.submit(measure, latency, concurrency, given).result()


if __name__ == "__main__":
    main()

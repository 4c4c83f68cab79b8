"""What a push costs end to end: Celery task, claims in the store, requests, results written back.

    python bench/push.py [--contacts 10000] [--latency-ms 0 50] [--concurrency 16 100] [--processes 1 2]
                         [--broker redis://127.0.0.1:6379/7] [--store postgresql+psycopg://...]

The reference, in the same run, is the product's own client alone in a bare loop with as many threads: the same requests
to the same server, and nothing else. Ratios count; absolute figures move with the machine's mood.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from sqlalchemy import Engine, func, select, update  # noqa: E402

from bench.client import fake_server  # noqa: E402
from bench.sync import make_csv  # noqa: E402
from worker.runtime import Runtime, open_runtime  # noqa: E402
from worker.store.db import reading, writing  # noqa: E402
from worker.store.migrate import migrate  # noqa: E402
from worker.store.models import PushState, utcnow  # noqa: E402
from worker.store.tables import contact  # noqa: E402
from worker.virtualtext.client import VirtualTextClient  # noqa: E402
from worker.virtualtext.outcomes import ContactBody, Endpoint  # noqa: E402


def bare_loop(base: str, contacts: int, concurrency: int) -> float:
    """Creates a second by the client alone."""
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
    """A store in which every contact is new to VirtualText."""
    make_csv(folder / "people.csv", contacts)
    engines = f'[store]\nurl = "{options.store}"\n' if options.store else ""
    engines += f'[broker]\nurl = "{options.broker}"\n' if options.broker else ""
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
{engines}
""",
        encoding="utf-8",
    )
    os.environ |= {"VTSYNC_CONFIG": str(folder / "vtsync.toml"), "BENCH_TOKEN": "token", "VTSYNC_LOG_LEVEL": "error"}
    runtime = open_runtime()
    migrate(runtime.engine)
    from worker.sync.engine import sync_connection

    report = sync_connection(runtime, "people")
    assert report.state == "done", report
    return runtime


@contextmanager
def workers(folder: Path, processes: int) -> Iterator[None]:
    """Worker processes, each pinned to a core of its own where there is more than one."""
    cores = sorted(os.sched_getaffinity(0))
    started = []
    for index in range(processes):
        log = (folder / f"worker-{index}.log").open("wb")
        command = [sys.executable, "-m", "worker.cli", "worker"]
        if processes > 1:
            command = ["taskset", "-c", str(cores[index % len(cores)]), *command]
        started.append(
            subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": str(ROOT)})
        )
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def counts(engine: Engine) -> dict[str, int]:
    with reading(engine) as db:
        return dict(db.execute(select(contact.c.push_state, func.count()).group_by(contact.c.push_state)).all())


def push(runtime: Runtime, contacts: int, processes: int) -> float:
    """Creates a second through running workers, from the hint to the last result in the store."""
    from worker.hints import hint

    with writing(runtime.engine) as db:  # due again, as if they had never been pushed
        again = {"push_state": PushState.DUE, "pushed_hash": None, "virtualtext_id": None, "next_attempt_at": utcnow()}
        db.execute(update(contact).values(**again))
    began = time.perf_counter()
    for _ in range(processes):
        hint("vtsync.push_contacts", "main")
    while (done := counts(runtime.engine)).get(PushState.SYNCED, 0) < contacts:
        assert time.perf_counter() - began < 600, done
        time.sleep(0.02)
    return contacts / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contacts", type=int, default=10_000)
    parser.add_argument("--latency-ms", type=float, nargs="+", default=[0, 50])
    parser.add_argument("--concurrency", type=int, nargs="+", default=[16, 100], help="one for each latency")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--broker")
    parser.add_argument("--store", help="an empty PostgreSQL database (default: a new SQLite file)")
    options = parser.parse_args()
    for latency, concurrency in zip(options.latency_ms, options.concurrency, strict=True):
        with tempfile.TemporaryDirectory(prefix="vtsync-bench-") as name, fake_server(latency) as base:
            folder = Path(name)
            runtime = configure(folder, base, options.contacts, concurrency, options)
            print(f"{options.contacts:,} creates, {latency:g} ms, {concurrency} in flight a process", flush=True)
            bare = bare_loop(base, options.contacts, concurrency)
            print(f"  {'client alone':24} {bare:8,.0f}/s")
            for processes in options.processes:
                with workers(folder, processes):
                    push(runtime, options.contacts, processes)  # warms up: processes, connections, caches
                    rate = push(runtime, options.contacts, processes)
                print(f"  {f'{processes} worker process(es)':24} {rate:8,.0f}/s   {rate / bare:.2f} of it", flush=True)


if __name__ == "__main__":
    main()

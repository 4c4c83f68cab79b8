"""Measures a sync without its requests: a first sync, and one in which nothing has changed.

    python bench/sync.py [--rows 100000] [--adapter csv|sql] [--store postgresql+psycopg://...] [--encrypted]

The same run compares the unchanged sync with the minimum that it must do: read every row from the same source, hash it,
look up the hashes in batches of 1,000 in a table of the same database, and compare them. Both take turns, so that other
load on the machine affects both; the result is the median of the ratios. Each part runs in its own process, so that its
peak of memory is its own. ``--store`` uses a temporary schema.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import multiprocessing
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import orjson

from bench.engines import engines
from bench.results import Goal, parser, results

BATCH = 1000
NUMBERS = 7_500_000
SCATTER = 1_000_003
"""It has no factor in common with NUMBERS, so that people do not come in the order of their phone numbers."""


def make_csv(path: Path, rows: int) -> None:
    """Write an export with ten columns and valid numbers of many area codes, in no order."""
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["id", "first_name", "last_name", "mobile", "email", "city", "status", "owner", "score", "note"])
        out.writerows(
            [
                f"c{index}",
                "Ada",
                f"Lovelace {index}",
                number(index),
                f"ada{index}@example.com",
                "Springfield",
                "customer",
                "Jane Doe",
                index % 100,
                "called back, wants the blue one",
            ]
            for index in range(rows)
        )


def number(index: int) -> str:
    """Return a valid US number as people write it, different for each of the first 7.5 million."""
    areas = ("415", "212", "305", "713", "206", "312", "617", "404", "602", "303")
    rest, area = divmod(index * SCATTER % NUMBERS, 10)
    return f"({areas[area]}) {200 + rest // 10_000 % 750}-{rest % 10_000:04d}"


def make_sql(path: Path, rows: int) -> None:
    """Write the same people to a database."""
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE customers (id TEXT PRIMARY KEY, first_name TEXT, last_name TEXT, mobile TEXT, email TEXT,"
            " city TEXT, status TEXT, updated_at TEXT)"
        )
        database.executemany(
            "INSERT INTO customers VALUES (?, 'Ada', ?, ?, ?, 'Springfield', 'customer', '2026-01-01T00:00:00Z')",
            ((f"c{i:08d}", f"Lovelace {i}", number(i), f"ada{i}@example.com") for i in range(rows)),
        )


def configure(folder: Path, adapter: str, store: str | None, *, encrypted: bool = False, data: str = "data") -> None:
    """Write a configuration that syncs the people, and name it in the environment."""
    os.environ["BENCH_STORE_KEY"] = base64.b64encode(bytes(32)).decode()
    source = {
        "csv": 'path = "people.csv", settle_seconds = 0',
        "sql": 'url = "sqlite:///people.db", table = "customers"',
    }
    key = "" if store else "[store]\n"
    key = f'{key}encryption_key = {{ env = "BENCH_STORE_KEY" }}' if encrypted else ""
    (folder / "vtsync.toml").write_text(
        f"""
data_dir = "{data}"
[accounts.main]
uid = "u"
token = {{ env = "BENCH_TOKEN" }}
from_number = "+14155550100"
[connections.people]
adapter = "{adapter}"
account = "main"
default_region = "US"
options = {{ {source[adapter]} }}
{engines(None, store)}{key}
""",
        encoding="utf-8",
    )
    os.environ |= {"VTSYNC_CONFIG": str(folder / "vtsync.toml"), "BENCH_TOKEN": "token", "VTSYNC_LOG_LEVEL": "error"}


def sync() -> dict[str, Any]:
    """Run one sync of the product, without its push."""
    from worker.contacts.pull import sync_connection
    from worker.runtime import open_runtime
    from worker.store.migrate import migrate

    runtime = open_runtime()
    migrate(runtime.engine)
    began, used, memory = time.perf_counter(), time.process_time(), peak_mb()
    report = sync_connection(runtime, "people")
    assert report.state == "done", report
    return {"counts": (report.added, report.unchanged)} | spent(began, used, memory)


def spent(began: float, used: float, memory: float) -> dict[str, Any]:
    return {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - used,
        "before_mb": memory,
        "peak_mb": peak_mb(),
    }


def bare_loop(folder: Path, adapter: str, store: str | None) -> dict[str, Any]:
    """Do the minimum of an unchanged sync: read, hash, look up in batches, compare."""
    look_up = known_hashes(folder, adapter, store)
    began, used, memory = time.perf_counter(), time.process_time(), peak_mb()
    same, rows = 0, hashed(folder, adapter)
    while batch := dict(islice(rows, BATCH)):
        same += sum(batch[key] == value for key, value in look_up(list(batch)))
    return {"counts": (0, same)} | spent(began, used, memory)


def known_hashes(folder: Path, adapter: str, store: str | None) -> Callable[[list[str]], list[tuple[str, bytes]]]:
    """Store every hash once, and return a function that looks some up."""
    table = "CREATE TABLE IF NOT EXISTS bench_known (id TEXT PRIMARY KEY, hash {})"
    if store is None:
        connection = sqlite3.connect(folder / "known.db")
        connection.execute(table.format("BLOB"))
        if not connection.execute("SELECT 1 FROM bench_known LIMIT 1").fetchone():
            connection.executemany("INSERT INTO bench_known VALUES (?, ?)", hashed(folder, adapter))
            connection.commit()
        query = "SELECT id, hash FROM bench_known WHERE id IN (SELECT value FROM json_each(?))"
        return lambda ids: connection.execute(query, (orjson.dumps(ids).decode(),)).fetchall()
    import psycopg

    server = psycopg.connect(store.replace("+psycopg", ""), autocommit=True)
    server.execute(table.format("BYTEA"))
    if not server.execute("SELECT 1 FROM bench_known LIMIT 1").fetchone():
        with server.cursor().copy("COPY bench_known FROM STDIN") as copy:
            for row in hashed(folder, adapter):
                copy.write_row(row)
        server.execute("ANALYZE bench_known")
    query = "SELECT id, hash FROM bench_known WHERE id = ANY(%s)"
    return lambda ids: server.execute(query, (ids,)).fetchall()


def hashed(folder: Path, adapter: str) -> Iterator[tuple[str, bytes]]:
    """Yield (id, hash) of every row of the source."""
    for row in rows_of(folder, adapter):
        canonical = orjson.dumps(row, option=orjson.OPT_SORT_KEYS)
        yield row["id"], hashlib.blake2b(canonical, digest_size=16).digest()


def rows_of(folder: Path, adapter: str) -> Iterator[dict[str, Any]]:
    if adapter == "csv":
        with (folder / "people.csv").open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)
        return
    cursor = sqlite3.connect(folder / "people.db").execute("SELECT * FROM customers ORDER BY id")
    names = [column[0] for column in cursor.description]
    for row in cursor:
        yield dict(zip(names, row, strict=True))


def peak_mb() -> float:
    """Return the peak of memory of this process, in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def alone(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Run in a separate process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


def start(figures: dict[str, Any]) -> str:
    return f"{figures['before_mb']:.0f} MB before the first row"


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=100_000)
    made.add_argument("--adapter", choices=("csv", "sql"), default="csv")
    made.add_argument("--store", help="a PostgreSQL database (default: a new SQLite file)")
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--encrypted", action="store_true", help="with store.encryption_key")
    options = made.parse_args()
    from tests.faults.servers import own_schema  # not at the top, because the measured processes import this module

    rows, adapter = options.rows, options.adapter
    title = f"{rows:,} rows from {adapter.upper()}, store {'PostgreSQL' if options.store else 'SQLite'}"
    title += ", encrypted" if options.encrypted else ""
    with ExitStack() as stack, results(title, options) as found:
        folder = Path(tempfile.mkdtemp(prefix="vtsync-bench-"))
        stack.callback(shutil.rmtree, folder)
        store = stack.enter_context(own_schema(options.store)) if options.store else None
        make_csv(folder / "people.csv", rows) if adapter == "csv" else make_sql(folder / "people.db", rows)
        configure(folder, adapter, store, encrypted=options.encrypted)
        os.chdir(folder)
        first = alone(sync)
        assert first["counts"] == (rows, 0), first
        cpu = f"{first['cpu'] / rows * 1e6:.0f} us of CPU a row"
        found.add("first sync", rows / first["seconds"], "rows/s", Goal(15_000), cpu)
        found.add("first sync: peak memory", first["peak_mb"], "MB", Goal(150, at_most=True), start(first))
        rounds = []
        for _ in range(options.rounds):
            bare, ours = alone(bare_loop, folder, adapter, store), alone(sync)
            assert bare["counts"] == ours["counts"] == (0, rows), (bare, ours)
            rounds.append((bare, ours))
        ratio = statistics.median(bare["seconds"] / ours["seconds"] for bare, ours in rounds)
        sides = [statistics.median(rows / one[side]["seconds"] for one in rounds) for side in (1, 0)]
        beside = f"{sides[0]:,.0f} / {sides[1]:,.0f} rows/s"
        found.add("unchanged sync against the bare loop", ratio, "", Goal(0.5), beside)
        cpu = statistics.median(bare["cpu"] / ours["cpu"] for bare, ours in rounds)
        found.add("the same by CPU time of the process", cpu)
        peak = max(ours["peak_mb"] for _, ours in rounds)
        found.add("unchanged sync: peak memory", peak, "MB", Goal(150, at_most=True), start(rounds[0][1]))


if __name__ == "__main__":
    main()

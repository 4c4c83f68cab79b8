"""What the store's side of a sync costs: a first sync, and one in which nothing has changed. No request is made.

    python bench/sync.py [--rows 100000] [--adapter csv|sql] [--store URL] [--rounds 1]

The unchanged sync is compared, in the same run, with the least that such a sync must do: parse the file, hash every
row, look the hashes up in batches of 1,000, compare. Each part runs in a process of its own, so that the peak of
its memory is its own: what the interpreter and the imports take is in the last column's first figure.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import multiprocessing
import os
import resource
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import orjson

BATCH = 1000


def make_csv(path: Path, rows: int) -> None:
    """An export with ten columns and valid numbers of many area codes."""
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
    """A valid US number as people write it; different for each of the first 7.5 million."""
    areas = ("415", "212", "305", "713", "206", "312", "617", "404", "602", "303")
    area, rest = areas[index % 10], index // 10
    return f"({area}) {200 + rest // 10_000 % 750}-{rest % 10_000:04d}"


def make_sql(path: Path, rows: int) -> None:
    """The same people in a database."""
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE customers (id TEXT PRIMARY KEY, first_name TEXT, last_name TEXT, mobile TEXT, email TEXT,"
            " city TEXT, status TEXT, updated_at TEXT)"
        )
        database.executemany(
            "INSERT INTO customers VALUES (?, 'Ada', ?, ?, ?, 'Springfield', 'customer', '2026-01-01T00:00:00Z')",
            ((f"c{i:08d}", f"Lovelace {i}", number(i), f"ada{i}@example.com") for i in range(rows)),
        )


def settings(folder: Path, adapter: str, store: str | None) -> Any:
    """A configuration that syncs the people."""
    from config.models import Settings

    options = {
        "csv": {"path": str(folder / "people.csv"), "settle_seconds": 0},
        "sql": {"url": f"sqlite:///{folder / 'people.db'}", "table": "customers", "key": "id"},
    }
    return Settings.model_validate(
        {
            "data_dir": str(folder),
            "accounts": {"main": {"uid": "u", "token": "t", "from_number": "+14155550100"}},
            "connections": {
                "people": {
                    "adapter": adapter,
                    "account": "main",
                    "default_region": "US",
                    "options": options[adapter],
                }
            },
            "store": {"url": store} if store else {},
        }
    )


def sync(folder: Path, adapter: str, store: str | None) -> dict[str, Any]:
    """One sync by the product, without its push."""
    from worker.runtime import Runtime
    from worker.store.migrate import migrate
    from worker.sync.engine import sync_connection

    runtime = Runtime(settings(folder, adapter, store))
    migrate(runtime.engine)
    began, memory = time.perf_counter(), peak_mb()
    report = sync_connection(runtime, "people")
    assert report.state == "done", report
    return {
        "seconds": time.perf_counter() - began,
        "unchanged": report.unchanged,
        "added": report.added,
        "before_mb": memory,
        "peak_mb": peak_mb(),
    }


def bare_loop(folder: Path) -> dict[str, Any]:
    """Parse, hash, look up in batches, compare: the least that an unchanged sync of a CSV file must do."""
    path, known = folder / "people.csv", folder / "known.db"
    with sqlite3.connect(known) as database:
        database.execute("CREATE TABLE IF NOT EXISTS known (id TEXT PRIMARY KEY, hash BLOB)")
        if not database.execute("SELECT 1 FROM known LIMIT 1").fetchone():
            database.executemany("INSERT INTO known VALUES (?, ?)", ((row["id"], digest(row)) for row in rows_of(path)))
    began, memory, same = time.perf_counter(), peak_mb(), 0
    connection = sqlite3.connect(known)
    batch: dict[str, bytes] = {}

    def compare() -> int:
        ids = json.dumps(list(batch))
        found = connection.execute("SELECT id, hash FROM known WHERE id IN (SELECT value FROM json_each(?))", (ids,))
        return sum(batch[key] == value for key, value in found)

    for row in rows_of(path):
        batch[row["id"]] = digest(row)
        if len(batch) == BATCH:
            same += compare()
            batch.clear()
    same += compare()
    return {
        "seconds": time.perf_counter() - began,
        "unchanged": same,
        "before_mb": memory,
        "peak_mb": peak_mb(),
    }


def rows_of(path: Path) -> Any:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def digest(row: dict[str, str]) -> bytes:
    return hashlib.blake2b(orjson.dumps(row, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


def peak_mb() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Run in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def show(what: str, rows: int, figures: dict[str, Any], reference: float | None = None) -> None:
    rate = rows / figures["seconds"]
    ratio = "" if reference is None else f"   {rate / reference:.2f} of the bare loop"
    memory = f"{figures['before_mb']:.0f} -> {figures['peak_mb']:.0f} MB"
    print(f"  {what:28} {rate:10,.0f} rows/s   {figures['seconds']:7.1f} s   {memory}{ratio}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--adapter", choices=("csv", "sql"), default="csv")
    parser.add_argument("--store", help="an empty PostgreSQL database (default: a new SQLite file)")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vtsync-bench-"))
    os.environ.setdefault("VTSYNC_LOG_LEVEL", "error")
    try:
        make_csv(folder / "people.csv", options.rows)
        if options.adapter == "sql":
            make_sql(folder / "people.db", options.rows)
        print(f"{options.rows:,} rows from {options.adapter}, store {options.store or 'SQLite'}")
        show("first sync", options.rows, alone(sync, folder, options.adapter, options.store))
        for _ in range(options.rounds):
            bare = alone(bare_loop, folder)
            assert bare["unchanged"] == options.rows
            show("bare loop (CSV, SQLite)", options.rows, bare)
            unchanged = alone(sync, folder, options.adapter, options.store)
            assert unchanged["unchanged"] == options.rows, unchanged
            show("unchanged sync", options.rows, unchanged, options.rows / bare["seconds"])
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()

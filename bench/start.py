"""Measures how long commands and workers take to start, and how much memory a worker uses.

    python bench/start.py [--rounds 5] [--broker redis://127.0.0.1:6379/7] [--store postgresql+psycopg://...]

Memory is the proportional set size: a shared page counts only by the share of the process. A worker is measured when
it is ready, and again after it has pushed the contacts of a first sync.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.client import fake_server  # noqa: E402
from bench.results import Goal, parser, results  # noqa: E402

READY = b"worker ready"


class Started(NamedTuple):
    """The figures of a worker: seconds until it was ready, MB at that time, MB after its work."""

    seconds: float
    cpu: float
    idle_mb: float
    worked_mb: float


def seconds_of(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return time.perf_counter() - began


def pss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start_worker(folder: Path, contacts: int) -> Started:
    """Start a worker in a configured folder, let it work, and stop it."""
    from bench.push import push
    from worker.runtime import open_runtime

    log = folder / "worker.log"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "VTSYNC_LOG_LEVEL": "info"}
    began = time.perf_counter()
    with log.open("wb") as out:
        command = [sys.executable, "-m", "worker.cli", "worker"]
        worker = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out)
    try:
        while READY not in log.read_bytes():
            assert worker.poll() is None, log.read_text()
            assert time.perf_counter() - began < 60, log.read_text()
            time.sleep(0.005)
        seconds, cpu = time.perf_counter() - began, cpu_seconds(worker.pid)
        time.sleep(1)
        idle = pss_mb(worker.pid)
        push(open_runtime(), contacts)
        return Started(seconds, cpu, idle, pss_mb(worker.pid))
    finally:
        worker.terminate()
        worker.wait()


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--contacts", type=int, default=5000)
    made.add_argument("--broker")
    made.add_argument("--store", help="a PostgreSQL database (default: a new SQLite file)")
    options = made.parse_args()
    with ExitStack() as stack, results("Start and memory of a worker", options) as found:
        help_ = statistics.median(
            seconds_of([sys.executable, "-m", "worker.cli", "--help"]) for _ in range(options.rounds)
        )
        bare = statistics.median(seconds_of([sys.executable, "-c", "pass"]) for _ in range(options.rounds))
        found.add("vtsync --help", help_ * 1000, "ms", Goal(250, at_most=True), f"python alone {bare * 1000:.0f} ms")
        workers = measure_workers(stack, options)
        seconds, cpu, idle, worked = (statistics.median(figures) for figures in zip(*workers, strict=True))
        found.add("worker ready", seconds, "s", Goal(2, at_most=True), f"{cpu:.1f} s of CPU")
        found.add("worker, idle: PSS", idle, "MB", Goal(120, at_most=True))
        beside = f"after {options.contacts:,} contacts were pushed"
        found.add("worker, after work: PSS", worked, "MB", Goal(120, at_most=True), beside)


def measure_workers(stack: ExitStack, options: argparse.Namespace) -> list[Started]:
    from bench.push import configure
    from tests.faults.servers import empty_redis, own_schema

    options.store = stack.enter_context(own_schema(options.store)) if options.store else None
    if options.broker:
        stack.enter_context(empty_redis(options.broker))
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vtsync-bench-")))
    base = stack.enter_context(fake_server())
    configure(folder, base, options.contacts, 16, options)
    stack.callback(os.chdir, ROOT)
    return [start_worker(folder, options.contacts) for _ in range(options.rounds)]


if __name__ == "__main__":
    main()

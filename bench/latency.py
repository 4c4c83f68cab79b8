"""Measures the time from another service's call to the request on the wire, for a text on idle workers.

    python bench/latency.py [--texts 300] [--every-ms 50] [--broker redis://...|amqp://...] [--store postgresql+psycopg://...]

The service calls ``send_task`` or POST /v1/messages. The same run also measures Celery alone: from ``send_task`` to the
start of an empty task on the same broker. All times are from one clock. The Redis database is emptied before and after;
``--store`` uses a temporary schema.
"""

from __future__ import annotations

import argparse
import os
import socket
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import orjson  # noqa: E402
import requests  # noqa: E402
from celery import Celery  # noqa: E402

from bench.engines import engines  # noqa: E402
from bench.results import Goal, Results, parser, results  # noqa: E402

EMPTY_TASK = """
import os, time
from celery import Celery
app = Celery(broker=os.environ["BENCH_BROKER"])
app.conf.update(worker_prefetch_multiplier=1, task_ignore_result=True, worker_enable_remote_control=False)

@app.task(name="bench.empty")
def empty(sent):
    with open(os.environ["BENCH_OUT"], "a") as out:
        out.write(f"{time.time() - sent}\\n")
"""


class Recorder(socketserver.ThreadingTCPServer):
    """A VirtualText that stores the arrival time of each text."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        self.arrived: dict[str, float] = {}
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    """Answers every POST with success."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Recorder

    def do_POST(self) -> None:
        at = time.time()
        body = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.arrived[body["message"]] = at
        self.send_response(200)
        self.send_header("Content-Length", "17")
        self.end_headers()
        self.wfile.write(b'{"status":"true"}')

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""


def configure(folder: Path, base: str, options: argparse.Namespace) -> dict[str, str]:
    """Write the configuration and return the environment of the processes."""
    (folder / "vtsync.toml").write_text(
        f"""
data_dir = "data"
[policy]
quiet_hours = "none"
[accounts.main]
uid = "uid"
token = {{ env = "BENCH_TOKEN" }}
from_number = "+12025550100"
api_url = "{base}"
create_url = "{base}"
{engines(options.broker, options.store)}
""",
        encoding="utf-8",
    )
    more = {"VTSYNC_CONFIG": str(folder / "vtsync.toml"), "BENCH_TOKEN": "token", "PYTHONPATH": str(ROOT)}
    return os.environ | more | {"VTSYNC_LOG_LEVEL": "error"}


def service(options: argparse.Namespace, folder: Path) -> Celery:
    """Return another service's Celery app, which knows the broker and the name of a task."""
    other = Celery("another-service")
    if options.broker:
        other.conf.update(broker_url=options.broker)
    else:
        from worker.broker.settings import embedded_settings

        other.conf.update(embedded_settings(folder / "data"))
    return other


def show(found: Results, what: str, seconds: list[float], *, goals: bool) -> None:
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    found.add(f"{what}: p50", statistics.median(ordered) * 1000, "ms", Goal(15, at_most=True) if goals else None)
    found.add(f"{what}: p99", p99 * 1000, "ms", Goal(50, at_most=True) if goals else None)


def texts(options: argparse.Namespace, folder: Path) -> tuple[list[float], list[float]]:
    """Return the seconds to the wire for each text, from send_task and from the POST."""
    recorder = Recorder()
    threading.Thread(target=recorder.serve_forever, daemon=True).start()
    environment = configure(folder, f"http://127.0.0.1:{recorder.server_address[1]}", options)
    vtsync = [sys.executable, "-m", "worker.cli"]
    subprocess.run([*vtsync, "migrate"], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    made = subprocess.run(
        [*vtsync, "keys", "create", "bench", "--scope", "messages:write"],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
    )
    port = free_port()
    other, session = service(options, folder), requests.Session()
    session.headers["Authorization"] = f"Bearer {made.stdout.decode().split()[0]}"

    def by_task(job: dict[str, str]) -> None:
        other.send_task("vtsync.send_message", kwargs=job, ignore_result=True)

    def by_http(job: dict[str, str]) -> None:
        session.post(f"http://127.0.0.1:{port}/v1/messages", json=job).raise_for_status()

    processes = [
        subprocess.Popen(
            [*vtsync, *command], cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for command in (["worker"], ["web", "--port", str(port)])
    ]
    try:
        wait(lambda: is_listening(port))
        return send(by_task, "task", 2020, recorder, options), send(by_http, "http", 4020, recorder, options)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        recorder.shutdown()


def send(
    enqueue: Callable[[dict[str, str]], None],
    how: str,
    first_number: int,
    recorder: Recorder,
    options: argparse.Namespace,
) -> list[float]:
    sent: dict[str, float] = {}
    for index in range(-options.warm_up, options.texts):
        text = f"{how} {index}"
        sent[text] = time.time()
        enqueue({"account": "main", "to": f"+1415555{first_number + index:04d}", "message": text})
        if index == -options.warm_up:
            wait(lambda: text in recorder.arrived)  # noqa: B023 - within the round
        time.sleep(options.every_ms / 1000)
    wait(lambda: sent.keys() <= recorder.arrived.keys())
    return [recorder.arrived[f"{how} {index}"] - sent[f"{how} {index}"] for index in range(options.texts)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def empty_tasks(options: argparse.Namespace, folder: Path) -> list[float]:
    """Return the seconds from send_task to the start of a task that does nothing."""
    out = folder / "empty.txt"
    out.touch()
    (folder / "empty_app.py").write_text(EMPTY_TASK)
    environment = os.environ | {"BENCH_BROKER": options.broker, "BENCH_OUT": str(out), "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "celery", "-A", "empty_app", "worker", "-P", "threads", "-c", "8", "-Q", "bench"]
    worker = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    other = Celery(broker=options.broker)
    try:
        for index in range(-options.warm_up, options.texts):
            other.send_task("bench.empty", args=[time.time()], queue="bench", ignore_result=True)
            if index == -options.warm_up:
                wait(lambda: out.read_text())
            time.sleep(options.every_ms / 1000)
        wait(lambda: len(out.read_text().splitlines()) == options.texts + options.warm_up)
    finally:
        worker.terminate()
        worker.wait()
    return [float(line) for line in out.read_text().splitlines()[options.warm_up :]]


def wait(condition: object) -> None:
    deadline = time.monotonic() + 120
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--texts", type=int, default=300)
    made.add_argument("--every-ms", type=float, default=50)
    made.add_argument("--warm-up", type=int, default=20, help="texts before the measurement, which do not count")
    made.add_argument("--broker", help="redis://... or amqp://... (default: files)")
    made.add_argument("--store", help="a PostgreSQL database (default: a new SQLite file)")
    options = made.parse_args()
    from tests.faults.servers import empty_redis, own_schema

    broker, store = (options.broker or "files").split(":", 1)[0], "PostgreSQL" if options.store else "SQLite"
    with ExitStack() as stack, results(f"From call to wire, idle, broker {broker}, store {store}", options) as found:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vtsync-bench-")))
        if broker == "redis":
            stack.enter_context(empty_redis(options.broker))
        if options.store:
            options.store = stack.enter_context(own_schema(options.store))
        if options.broker:
            show(found, "Celery alone, send_task to an empty task", empty_tasks(options, folder), goals=False)
        by_task, by_http = texts(options, folder)
        show(found, "send_task to the text on the wire", by_task, goals=True)
        show(found, "POST /v1/messages to the text on the wire", by_http, goals=True)


if __name__ == "__main__":
    main()

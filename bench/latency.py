"""How long a text takes from another service's ``send_task`` to its request on the wire, while the fleet is idle.

    python bench/latency.py [--texts 300] [--every-ms 50] [--broker redis://127.0.0.1:6379/7] [--store postgresql+psycopg://...]

Beside it, in the same run, the least that Celery itself takes: from ``send_task`` to the start of an empty task on the
same broker. Both clocks are one machine's.
"""

from __future__ import annotations

import argparse
import os
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import orjson  # noqa: E402
from celery import Celery  # noqa: E402

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
    """A VirtualText that notes when each text came."""

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
        """Silent."""


def configure(folder: Path, base: str, options: argparse.Namespace) -> dict[str, str]:
    """A fleet's environment."""
    engines = f'[store]\nurl = "{options.store}"\n' if options.store else ""
    engines += f'[broker]\nurl = "{options.broker}"\n' if options.broker else ""
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
{engines}
""",
        encoding="utf-8",
    )
    more = {"VTSYNC_CONFIG": str(folder / "vtsync.toml"), "BENCH_TOKEN": "token", "PYTHONPATH": str(ROOT)}
    return os.environ | more | {"VTSYNC_LOG_LEVEL": "error"}


def service(options: argparse.Namespace, folder: Path) -> Celery:
    """Another service, which knows the broker and the name of a task."""
    other = Celery("another-service")
    if options.broker:
        other.conf.update(broker_url=options.broker)
    else:
        from worker.broker import embedded_settings

        other.conf.update(embedded_settings(folder / "data"))
    return other


def show(what: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(f"  {what:34} p50 {statistics.median(ordered) * 1000:6.1f} ms   p99 {p99 * 1000:6.1f} ms", flush=True)


def texts(options: argparse.Namespace, folder: Path) -> list[float]:
    """Seconds from send_task to the wire, for each text."""
    recorder = Recorder()
    threading.Thread(target=recorder.serve_forever, daemon=True).start()
    environment = configure(folder, f"http://127.0.0.1:{recorder.server_address[1]}", options)
    vtsync = [sys.executable, "-m", "worker.cli"]
    subprocess.run([*vtsync, "migrate"], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    worker = subprocess.Popen([*vtsync, "worker"], cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    other = service(options, folder)
    sent: dict[str, float] = {}
    try:
        for index in range(-20, options.texts):  # the first ones warm connections up
            text = f"text {index}"
            sent[text] = time.time()
            job = {"account": "main", "to": f"+1415555{index + 2020:04d}", "message": text}
            other.send_task("vtsync.send_message", kwargs=job, ignore_result=True)
            if index == -20:
                wait(lambda: recorder.arrived)
            time.sleep(options.every_ms / 1000)
        wait(lambda: len(recorder.arrived) == len(sent))
    finally:
        worker.terminate()
        worker.wait()
        recorder.shutdown()
    return [recorder.arrived[f"text {index}"] - sent[f"text {index}"] for index in range(options.texts)]


def empty_tasks(options: argparse.Namespace, folder: Path) -> list[float]:
    """Seconds from send_task to the start of a task that does nothing."""
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
        for index in range(-20, options.texts):
            other.send_task("bench.empty", args=[time.time()], queue="bench", ignore_result=True)
            if index == -20:
                wait(lambda: out.read_text())
            time.sleep(options.every_ms / 1000)
        wait(lambda: len(out.read_text().splitlines()) == options.texts + 20)
    finally:
        worker.terminate()
        worker.wait()
    return [float(line) for line in out.read_text().splitlines()[20:]]


def wait(condition: object) -> None:
    deadline = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=300)
    parser.add_argument("--every-ms", type=float, default=50)
    parser.add_argument("--broker")
    parser.add_argument("--store", help="an empty PostgreSQL database (default: a new SQLite file)")
    options = parser.parse_args()
    print(f"{options.texts} texts, one every {options.every_ms:g} ms; {options.broker or 'files'}", flush=True)
    with tempfile.TemporaryDirectory(prefix="vtsync-bench-") as name:
        if options.broker:
            show("send_task to an empty task", empty_tasks(options, Path(name)))
        show("send_task to the text on the wire", texts(options, Path(name)))


if __name__ == "__main__":
    main()

"""Compares other tools at the same work: new people in a SQLite table become contacts, one POST each.

    python bench/peers.py [--rows 5000] [--latency-ms 0] [--rounds 3] [--only drt dlt ...]

Each tool is installed from the package index into its own virtual environment in a temporary folder; ``--venvs FOLDER``
keeps them for the next run. The measured time is the wall time of the tool's own command, with its start-up. "Start-up
apart" is the rate without the time of a run with few rows. Then the command runs again, once with nothing changed and
once with 1 % of the rows changed, and the requested creates and updates are counted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.client import fake_server  # noqa: E402
from bench.results import Goal, Results, parser, results  # noqa: E402
from bench.sync import make_sql  # noqa: E402

FEW = 100
LATER = "2026-02-01T00:00:00Z"
GOALS = {0.0: Goal(3), 20.0: Goal(20)}


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: its packages, and a function that sets it up in a folder with ``people.db`` and returns the command."""

    packages: tuple[str, ...]
    prepare: Callable[[Path, str, Path], list[str]]


class Run(NamedTuple):
    """The seconds of a run, and its numbers of creates and updates."""

    seconds: float
    created: int
    updated: int


def ours(folder: Path, base: str, python: Path) -> list[str]:
    (folder / "vtsync.toml").write_text(f"""
data_dir = "data"
[accounts.main]
uid = "uid"
token = {{ env = "BENCH_TOKEN" }}
from_number = "+12025550100"
api_url = "{base}"
create_url = "{base}"
concurrency = 100
[connections.people]
adapter = "sql"
account = "main"
default_region = "US"
options = {{ url = "sqlite:///people.db", table = "customers", updated_at = "updated_at" }}
""")
    return [str(python), "-m", "worker.cli", "sync"]


def drt(folder: Path, base: str, python: Path) -> list[str]:
    (folder / ".drt").mkdir(exist_ok=True)  # this is the home folder
    (folder / ".drt" / "profiles.yml").write_text("default:\n  type: sqlite\n  database: people.db\n")
    (folder / "drt_project.yml").write_text("name: bench\nprofile: default\n")
    (folder / "syncs").mkdir(exist_ok=True)
    (folder / "syncs" / "people.yml").write_text(f"""
name: people
model: ref('customers')
destination:
  type: rest_api
  url: "{base}/api/contacts"
  method: POST
  headers:
    Content-Type: "application/json"
  body_template: |
    {{"phoneNumber": "{{{{ row.mobile }}}}", "fullName": "{{{{ row.last_name }}}}", "email": "{{{{ row.email }}}}"}}
sync:
  mode: incremental
  cursor_field: updated_at
  batch_size: 100
  rate_limit:
    requests_per_second: 1000000
""")
    return [str(python.parent / "drt"), "run"]


DLT = """
import sqlite3, sys
import dlt, requests

session = requests.Session()

@dlt.destination(batch_size=25, name="virtualtext", loader_file_format="typed-jsonl")
def virtualtext(items, table):
    for row in items:
        body = {"phoneNumber": row["mobile"], "fullName": row["last_name"], "email": row["email"]}
        session.post(sys.argv[1] + "/api/contacts", json=body).raise_for_status()

@dlt.resource(name="customers", primary_key="id")
def customers(changed=dlt.sources.incremental("updated_at")):
    columns = ("id", "last_name", "mobile", "email", "updated_at")
    query = f"SELECT {', '.join(columns)} FROM customers WHERE updated_at >= ?"
    for row in sqlite3.connect("people.db").execute(query, (changed.last_value or "",)):
        yield dict(zip(columns, row))

pipeline = dlt.pipeline("bench", destination=virtualtext, pipelines_dir="pipelines")
pipeline.run(customers()).raise_on_failed_jobs()
"""


def dlt(folder: Path, base: str, python: Path) -> list[str]:
    (folder / "bench_dlt.py").write_text(DLT)
    return [str(python), "bench_dlt.py", base]


TAP = """
import json, sqlite3
columns = ("id", "last_name", "mobile", "email", "updated_at")
schema = {"properties": {name: {"type": ["string", "null"]} for name in columns}}
print(json.dumps({"type": "SCHEMA", "stream": "customers", "schema": schema, "key_properties": ["id"]}))
for row in sqlite3.connect("people.db").execute(f"SELECT {', '.join(columns)} FROM customers"):
    print(json.dumps({"type": "RECORD", "stream": "customers", "record": dict(zip(columns, row))}))
"""
TARGET = """
import sys
import requests
from singer_sdk import Target
from singer_sdk.sinks import RecordSink

session, base = requests.Session(), sys.argv.pop()

class ContactSink(RecordSink):
    def process_record(self, record, context):
        body = {"phoneNumber": record["mobile"], "fullName": record["last_name"], "email": record["email"]}
        session.post(base + "/api/contacts", json=body).raise_for_status()

class TargetVirtualText(Target):
    name = "target-virtualtext"
    config_jsonschema = {"type": "object", "properties": {}}
    default_sink_class = ContactSink

TargetVirtualText.cli()
"""


def singer(folder: Path, base: str, python: Path) -> list[str]:
    (folder / "tap.py").write_text(TAP)
    (folder / "target.py").write_text(TARGET)
    return ["sh", "-c", f"{sys.executable} tap.py | {python} target.py {base}"]


REQUESTS = """
import sqlite3, sys
import requests

session = requests.Session()
for name, phone, email in sqlite3.connect("people.db").execute("SELECT last_name, mobile, email FROM customers"):
    body = {"phoneNumber": phone, "fullName": name, "email": email}
    session.post(sys.argv[1] + "/api/contacts", json=body).raise_for_status()
"""
AIOHTTP = """
import asyncio, sqlite3, sys
import aiohttp

async def work(session, rows):
    for name, phone, email in rows:
        body = {"phoneNumber": phone, "fullName": name, "email": email}
        async with session.post(sys.argv[1] + "/api/contacts", json=body) as answer:
            answer.raise_for_status()
            await answer.read()

async def main():
    rows = sqlite3.connect("people.db").execute("SELECT last_name, mobile, email FROM customers")
    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(work(session, rows) for _ in range(16)))

asyncio.run(main())
"""


def loop(program: str) -> Callable[[Path, str, Path], list[str]]:
    def prepare(folder: Path, base: str, python: Path) -> list[str]:
        (folder / "loop.py").write_text(program)
        return [str(python), "loop.py", base]

    return prepare


TOOLS = {
    "vtsync": Tool((), ours),
    "drt": Tool(("drt-core==1.2.1",), drt),
    "dlt": Tool(("dlt==1.31.0",), dlt),
    "singer": Tool(("singer-sdk", "requests"), singer),
    "requests": Tool((), loop(REQUESTS)),
    "aiohttp": Tool((), loop(AIOHTTP)),
}
NAMES = {
    "vtsync": "vtsync sync, 100 in flight",
    "drt": "drt-core 1.2.1, REST destination, incremental",
    "dlt": "dlt 1.31, custom destination, incremental",
    "singer": "Singer SDK target",
    "requests": "loop of requests",
    "aiohttp": "loop of aiohttp, 16 in flight",
}
PLAIN = ("requests", "aiohttp")
"""Plain loops: they do not remember earlier runs, and are not tools."""


def interpreter(tool: str, venvs: Path) -> Path:
    """Return the Python that runs a tool; its environment is created once in ``venvs``."""
    packages = TOOLS[tool].packages
    if not packages:
        return Path(sys.executable)
    python = venvs / tool / "bin" / "python"
    if not python.exists():
        venv.create(venvs / tool, with_pip=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return python


def environment(folder: Path) -> dict[str, str]:
    ours = {"VTSYNC_CONFIG": str(folder / "vtsync.toml"), "BENCH_TOKEN": "token", "PYTHONPATH": str(ROOT)}
    theirs = {
        "LOAD__WORKERS": "8",
        "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": "25",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }
    quiet = {"HOME": str(folder), "DO_NOT_TRACK": "1", "VTSYNC_LOG_LEVEL": "error"}
    return os.environ | ours | theirs | quiet


def run(command: list[str], folder: Path, base: str) -> Run:
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    with urllib.request.urlopen(f"{base}/bench/counts") as answer:
        created, updated = json.load(answer)
    return Run(seconds, created, updated)


def measure(tool: str, python: Path, base: str, rows: int, scratch: Path) -> list[Run]:
    """Run with few rows, with all rows, with no change, and with 1 % changed."""
    runs = []
    for count in (FEW, rows):
        folder = scratch / f"{tool}-{count}"
        folder.mkdir()
        make_sql(folder / "people.db", count)
        command = TOOLS[tool].prepare(folder, base, python)
        if tool == "vtsync":
            migrate = [sys.executable, "-m", "worker.cli", "migrate"]
            subprocess.run(migrate, cwd=folder, env=environment(folder), check=True, capture_output=True)
        runs.append(run(command, folder, base))
        assert runs[-1].created == count, (tool, runs[-1])
    runs.append(run(command, folder, base))
    with sqlite3.connect(folder / "people.db") as database:
        changed = "UPDATE customers SET last_name = last_name || ' Byron', updated_at = ? WHERE rowid % 100 = 1"
        database.execute(changed, (LATER,))
    runs.append(run(command, folder, base))
    shutil.rmtree(scratch)
    scratch.mkdir()
    return runs


def show(found: Results, tool: str, rounds: list[list[Run]], rows: int) -> tuple[float, float]:
    """Add a line. Return the rows per second with start-up and without."""
    whole = rows / statistics.median(runs[1].seconds for runs in rounds)
    apart = (rows - FEW) / max(statistics.median(runs[1].seconds - runs[0].seconds for runs in rounds), 1e-3)
    again, changed = rounds[-1][2:]
    beside = f"start-up apart {apart:,.0f}/s; unchanged: {again.created} creates, {again.updated} updates; "
    beside += f"1 % changed: {changed.created} creates, {changed.updated} updates"
    found.add(NAMES[tool], whole, "rows/s", None, beside)
    return whole, apart


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=5000)
    made.add_argument("--latency-ms", type=float, default=0)
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--only", nargs="+", choices=TOOLS, default=list(TOOLS))
    made.add_argument("--venvs", type=Path, help="keep the environments in this folder")
    options = made.parse_args()
    title = f"Peers: {options.rows:,} new people, {options.latency_ms:g} ms"
    with ExitStack() as stack, results(title, options) as found:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vtsync-bench-")))
        base = stack.enter_context(fake_server(options.latency_ms))
        work(found, options, base, scratch)


def work(found: Results, options: argparse.Namespace, base: str, scratch: Path) -> None:
    venvs = options.venvs or scratch / "venvs"
    pythons = {tool: interpreter(tool, venvs.absolute()) for tool in options.only}
    (scratch / "work").mkdir()
    rounds: dict[str, list[list[Run]]] = {tool: [] for tool in options.only}
    for _ in range(options.rounds):
        for tool in options.only:
            rounds[tool].append(measure(tool, pythons[tool], base, options.rows, scratch / "work"))
    rates = {tool: show(found, tool, rounds[tool], options.rows) for tool in options.only}
    peers = [rate for tool, rate in rates.items() if tool != "vtsync" and tool not in PLAIN]
    if "vtsync" in rates and peers:
        goal = GOALS.get(options.latency_ms)
        for index, what in enumerate(("with start-up", "start-up apart")):
            best = max(rate[index] for rate in peers)
            found.add(f"against the best peer, {what}", rates["vtsync"][index] / best, "", goal)


if __name__ == "__main__":
    main()

"""The Procfile, run by honcho as `honcho start` runs it."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.files import ROOT, check_command
from tests.faults.servers import free_port
from tests.harness import Fleet, fleet, until
from worker.core.isolated import isolated

PROCESSES = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())


def test_it_has_the_processes_of_a_fleet_and_none_that_ends() -> None:
    assert set(PROCESSES) == {"worker", "beat", "web"}
    for name, line in PROCESSES.items():
        migration, _, command = line.partition(" && exec ")
        assert migration == "vtsync migrate", "each may be the first to start on a new version"
        program, *arguments = shlex.split(command)
        assert (program, arguments[0]) == ("vtsync", name)
        check_command(arguments)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path) as running:
        yield running


def test_honcho_starts_all_of_them_on_a_new_store_and_stops_all(made: Fleet) -> None:
    made.configure()
    program = made.folder / "bin" / "vtsync"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join(isolated("vtsync"))} "$@"\n')
    program.chmod(0o755)
    port, log = free_port(), made.folder / "honcho.log"
    environment = made.environment()
    environment |= {"PATH": f"{program.parent}:{environment['PATH']}", "PYTHONUNBUFFERED": "1"}
    with log.open("wb") as output:
        honcho = subprocess.Popen(
            [sys.executable, "-m", "honcho", "-f", ROOT / "Procfile", "-d", made.folder, "start", "--port", str(port)],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=made.folder,
        )
    try:
        until("the worker", lambda: b"worker ready" in log.read_bytes())
        until("the scheduler", lambda: b"scheduler ready" in log.read_bytes())
        until("a tick", lambda: made.query("SELECT 1 FROM heartbeat WHERE id = 'tick'"))
        web_port = port + 100 * list(PROCESSES).index("web")  # honcho gives each process a port of its own
        until("the HTTP API", lambda: is_ready(web_port))
        assert honcho.poll() is None, log.read_text()
    finally:
        honcho.send_signal(signal.SIGTERM)
        honcho.wait(timeout=60)
    said = log.read_text()
    assert said.count("at revision") == len(PROCESSES), "each has migrated, or found it done"
    assert set(re.findall(r"(\w+)\.1 stopped \(rc=0\)", said)) == set(PROCESSES), said


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2) as response:
            return response.status == 200
    except OSError:
        return False

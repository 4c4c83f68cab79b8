"""Starts the fleet of a test: a worker, a scheduler and the HTTP API, over a sandbox in this process."""

from __future__ import annotations

import contextlib
import re
from functools import partial
from pathlib import Path

from config.load import load
from worker.core.clock import utcnow
from worker.runtime import Runtime
from worker.sandbox import Sandbox
from worker.store.db import writing
from worker.store.migrate import migrate
from worker.testing.fleet import FleetUnderTest
from worker.testing.processes import SandboxProcess
from worker.testing.settings import read_settings, sandbox_accounts, write_settings
from worker.web.keys import SCOPES, TEST_SCOPES, create_key

_LISTENING = re.compile(r"listening on (http://[\d.]+:\d+)")
_READY = re.compile("worker ready")


def start_fleet(stack: contextlib.ExitStack, folder: Path, text: str) -> FleetUnderTest:
    """Start a fleet in a folder. ``stack`` kills it: nothing of it is kept. Raises BadSettings or FleetFailed."""
    settings = read_settings(text)
    phones = stack.enter_context(Sandbox(accounts=sandbox_accounts(settings)))
    path = folder / "vtsync.toml"
    write_settings(path, settings, phones.api_url, phones.create_url)
    runtime = Runtime(load(path))
    migrate(runtime.engine)
    stack.callback(runtime.engine.dispose)
    processes = []
    for command in (("worker",), ("web", "--host", "127.0.0.1", "--port", "0"), ("beat",)):
        processes.append(SandboxProcess(path, *command))
        stack.callback(processes[-1].kill)
    worker, web, _beat = processes
    key, test_key = _create_keys(runtime)
    url = web.wait_for(_LISTENING)[1]
    worker.wait_for(_READY)
    return FleetUnderTest(phones, runtime, path, url, key, test_key, processes)


def _create_keys(runtime: Runtime) -> tuple[str, str]:
    """Create a key that may do everything, and one for tests."""
    with writing(runtime.engine) as db:
        make = partial(create_key, db, accounts=(), created_by="pytest", now=utcnow())
        return make("tests", scopes=SCOPES), make("test key", scopes=TEST_SCOPES, test=True)

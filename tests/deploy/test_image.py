"""The image: what is in it, and how its first process ends."""

from __future__ import annotations

import re
import signal

import pytest

from config.models import Settings
from tests.deploy.files import ROOT, dockerfile
from worker import cli
from worker.broker.settings import celery_settings
from worker.cli.interruption import SIGNALS, Interrupted
from worker.fleet.processes import STOP_SECONDS


def test_the_image_takes_hashed_packages_only_and_runs_without_rights() -> None:
    text = dockerfile()
    stages = text.split("\nFROM ")
    assert "USER vtsync" in stages[-1]
    assert all("--require-hashes" in line or "--no-deps" in line for line in text.splitlines() if "pip install" in line)
    assert 'CMD ["vtsync", "health"]' in text
    ignored = (ROOT / ".dockerignore").read_text()
    for copied in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for name in copied.split():
            assert f"!{name}\n" in ignored, f"{name} is copied, and .dockerignore leaves it out"
            assert (ROOT / name).exists()
    for lock in re.findall(r"LOCK=(\S+\.lock)", text):
        assert (ROOT / lock).is_file()


def test_the_lock_with_extras_has_the_extras_and_what_the_project_is_tested_with() -> None:
    def locked(name: str) -> set[str]:
        return set(re.findall(r"^([\w.-]+==[^\\\n]+?) ?\\?$", (ROOT / name).read_text(), re.MULTILINE))

    extras = locked("requirements-otel-sentry.lock")
    assert extras <= locked("requirements-dev.lock")
    names = {line.split("==")[0] for line in extras}
    assert {line.split("==")[0] for line in locked("requirements.lock")} <= names
    assert {"sentry-sdk", "opentelemetry-sdk"} <= names


def test_the_first_process_of_a_container_stops_when_asked_even_while_it_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    monkeypatch.setattr("os.getpid", lambda: 1)
    monkeypatch.setattr("sys.argv", ["vtsync", "--help"])
    try:
        with pytest.raises(SystemExit):
            cli.main()
        handler = signal.getsignal(signal.SIGTERM)
        assert callable(handler)
        with pytest.raises(Interrupted) as ended:
            handler(signal.SIGTERM, None)
        assert ended.value.code == 143
        assert callable(signal.getsignal(signal.SIGTERM)), "without a handler the second signal would be ignored"
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_what_is_given_to_stop_covers_what_the_worker_takes() -> None:
    soft = celery_settings(Settings())["worker_soft_shutdown_timeout"]
    assert soft < STOP_SECONDS

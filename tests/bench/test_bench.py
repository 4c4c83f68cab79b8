"""The benchmarks run: tiny, so that only their working is tested, never a figure."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from bench.all import commands
from bench.results import Goal, Results

ROOT = Path(__file__).parents[2]
TINY = {
    "client.py": "--seconds 0.02 --rounds 1",
    "sync.py": "--rows 50 --rounds 1 --encrypted --markdown",
    "encryption.py": "--rows 20 --texts 3 --rounds 1 --markdown",
    "push.py": "--contacts 20 --rounds 1 --latency-ms 0 --concurrency 2 --processes 1 --markdown",
    "pages.py": "--contacts 20 --messages 200 --rounds 1 --markdown",
    "start.py": "--rounds 1 --contacts 20 --markdown",
    "latency.py": "--texts 3 --every-ms 1 --warm-up 1 --markdown",
    "peers.py": "--rows 20 --rounds 1 --only requests --markdown",
}


@pytest.mark.parametrize("script", TINY)
def test_each_benchmark_runs_and_prints_its_table(script: str) -> None:
    command = [sys.executable, str(ROOT / "bench" / script), *TINY[script].split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert ("| what | measured | goal | met | detail |" in done.stdout) is ("--markdown" in command)
    assert done.stdout.strip()


def test_the_standard_set_names_benchmarks_that_are_tested() -> None:
    options = Namespace(postgres="postgresql://p", redis="redis://r", rabbitmq="amqp://r", full=True, only=None)
    assert {command[0] for command in commands(options)} == TINY.keys() - {"client.py"}
    bare = Namespace(postgres=None, redis=None, rabbitmq=None, full=False, only=None)
    assert all("--store" not in command and "--broker" not in command for command in commands(bare))


def test_a_figure_is_shown_with_its_goal_and_whether_it_is_met(capsys: pytest.CaptureFixture[str]) -> None:
    found = Results("Title", markdown=True)
    found.add("ratio", 0.5, "", Goal(0.6), "1 / 2")
    found.add("memory", 149.6, "MB", Goal(150, at_most=True))
    found.add("plain", 12_345.6, "rows/s")
    assert found.table().splitlines()[4:] == [
        "| ratio | 0.50 | >= 0.60 | NO | 1 / 2 |",
        "| memory | 150 MB | <= 150 MB | yes |  |",
        "| plain | 12,346 rows/s |  |  |  |",
    ]
    assert capsys.readouterr().out == ""

"""Health of this machine's processes: judged from what they wrote, and tried on real ones."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness import Fleet, fleet, until
from tests.web.test_serve import free_port
from worker.core.findings import Level
from worker.monitoring.liveness import (
    Liveness,
    LivenessFile,
    judge_liveness,
    live_processes,
    liveness_folder,
    remove_stale_files,
)

NOW = 1000.0
WELL = Liveness("worker", 7, written_at=NOW - 1, loop_at=NOW - 2, work_at=NOW - 3, work_patience=120)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, ""),
        ({"written_at": NOW - 61}, "no sign of life for 61 s"),
        ({"loop_at": NOW - 61}, "main loop has made no progress for 61 s"),
        ({"loop_at": NOW - 61, "waits": "the broker"}, ""),
        ({"work_at": NOW - 121}, "nothing has ended for 121 s"),
        ({"work_at": NOW - 119}, ""),
        ({"loop_at": NOW - 61, "work_at": NOW - 500, "stopping": True}, ""),
        ({"written_at": NOW - 61, "stopping": True}, "no sign of life"),
    ],
)
def test_what_a_liveness_file_means(changes: dict[str, float], problem: str) -> None:
    found = judge_liveness(replace(WELL, **changes), NOW)  # type: ignore[arg-type]
    assert problem in found.found
    assert bool(problem) == (found.level is Level.PROBLEM)


def test_a_stop_is_reported_from_a_signal_handler_that_interrupts_another_report(tmp_path: Path) -> None:
    file = LivenessFile(tmp_path, "worker")
    with file._lock:  # held by the thread in which the handler runs
        file.report_stopping()
    file.write()
    assert [one.stopping for one in live_processes(tmp_path)] == [True]
    file.close()


def test_a_file_is_read_while_its_process_lives_and_pruned_after(tmp_path: Path) -> None:
    file = LivenessFile(tmp_path, "beat")
    assert [(one.role, one.pid) for one in live_processes(tmp_path)] == [("beat", os.getpid())]
    remove_stale_files(tmp_path)  # never what is held
    assert len(live_processes(tmp_path)) == 1
    [path] = tmp_path.iterdir()
    left = tmp_path / path.name.replace("beat@", "worker@")
    left.write_bytes(path.read_bytes())  # as kill -9 leaves it: without its lock
    assert len(live_processes(tmp_path)) == 1
    remove_stale_files(tmp_path)
    assert [*tmp_path.iterdir()] == [path]
    file.close()
    assert [*tmp_path.iterdir()] == []


def test_a_name_that_is_taken_is_an_error_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    first = LivenessFile(tmp_path, "web")
    with pytest.raises(OSError, match="same name"):
        LivenessFile(tmp_path, "web")
    assert len(live_processes(tmp_path)) == 1
    first.close()


def test_another_machine_s_file_is_left_until_it_is_old(tmp_path: Path) -> None:
    other = tmp_path / "worker@elsewhere@1.json"
    other.write_text("{}")
    remove_stale_files(tmp_path)
    assert other.exists()
    assert live_processes(tmp_path) == []
    os.utime(other, (0, 0))
    remove_stale_files(tmp_path)
    assert not other.exists()


def seen(made: Fleet, most: float = 60) -> dict[str, str]:
    """The problem of each role that runs."""
    found = live_processes(liveness_folder(made.folder / "data"))
    judged = {one.role: judge_liveness(one, time.monotonic(), most) for one in found}
    return {role: one.found if one.level is Level.PROBLEM else "" for role, one in judged.items()}


def test_each_process_is_healthy_until_it_is_stopped_and_gone_when_it_is_killed(tmp_path: Path) -> None:
    well = dict.fromkeys(("worker", "beat", "web"), "")
    with fleet(tmp_path) as made:
        port = free_port()
        made.configure(more=f"[metrics]\nport = {port}")
        assert made.run("migrate").exit_code == 0
        running = {
            "worker": made.start("worker"),
            "beat": made.start("beat"),
            "web": made.start("web", "--port", str(free_port())),
        }
        until("their files", lambda: seen(made) == well)
        until("heartbeats", lambda: len(made.query("SELECT role FROM heartbeat WHERE role != 'tick'")) == 3)
        until("a tick", lambda: made.query("SELECT seen_at FROM heartbeat WHERE role = 'tick'"))
        scraped = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
        assert 'vtsync_task_queue_wait_seconds_count{task="vtsync.tick"}' in scraped
        for process in running.values():
            process.send_signal(signal.SIGSTOP)
        until("all to be missed", lambda: all("stopped or hangs" in words for words in seen(made, 2).values()))
        said = made.run("health", "--role", "worker", "--max-age", "2", "--json")
        assert (said.exit_code, json.loads(said.stdout)["status"]) == (1, "fail")
        for process in running.values():
            process.send_signal(signal.SIGCONT)
        until("them to be back", lambda: seen(made, 3) == well)
        made.kill(running["worker"])
        said = made.run("health", "--role", "worker")
        assert said.exit_code == 1
        assert "no worker is running on this machine" in said.stdout
        for role in ("beat", "web"):
            running[role].send_signal(signal.SIGTERM)
            assert running[role].wait(30) == 0, made.log(running[role]).decode()
        assert [path.name.split("@")[0] for path in liveness_folder(tmp_path / "data").iterdir()] == ["worker"]
        assert {row[0] for row in made.query("SELECT role FROM heartbeat")} == {"worker", "tick"}


def test_a_worker_whose_broker_is_away_is_not_restarted_for_it(tmp_path: Path) -> None:
    with fleet(tmp_path, broker="redis://127.0.0.1:1/0") as made:
        made.configure()
        assert made.run("migrate").exit_code == 0
        worker = made.start("worker")
        until("its complaint", lambda: b"the broker cannot be used" in made.log(worker))
        folder = liveness_folder(tmp_path / "data")
        until("its file to say so", lambda: any(one.waits for one in live_processes(folder)))
        (tmp_path / "vtsync.toml").write_text('data_dir = "data"\nmistake = 1', encoding="utf-8")  # nor for a bad edit
        done = made.run("health", "--max-age", "5")
        assert f"worker {worker.pid}: works; it waits for the broker" in done.stdout
        assert done.exit_code == 0

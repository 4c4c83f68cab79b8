"""The command ``vtsync health``, for liveness probes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.common import FAILED, Json, app, say, show_json, usage


@app.command()
def health(
    role: Annotated[
        str | None, typer.Option(help="worker, beat or web (default: all that run on this machine).")
    ] = None,
    max_age: Annotated[float, typer.Option(min=1, help="Seconds that a main loop may be silent.")] = 60.0,
    pid: Annotated[int | None, typer.Option(help="Only the process with this id.")] = None,
    json: Json = False,
) -> None:
    """Check that this machine's processes work, for liveness probes.

    Contacts neither the store nor the broker.
    """
    import time

    from config.load import data_dir_of
    from worker.core.findings import Level
    from worker.monitoring.liveness import ROLES, WORKS, judge_liveness, live_processes, liveness_folder

    if role is not None and role not in ROLES:
        usage(f'there is no role "{role}"; there are: {", ".join(ROLES)}')
    folder = liveness_folder(data_dir_of(os.environ.get("VTSYNC_CONFIG")))
    now = time.monotonic()
    chosen = [one for one in live_processes(folder) if role in (None, one.role) and pid in (None, one.pid)]
    processes: list[dict[str, object]] = []
    problems = []
    for one in chosen:
        finding = judge_liveness(one, now, max_age)
        failed = finding.level is Level.PROBLEM
        note = "" if failed or finding.found == WORKS else finding.found
        processes.append({"role": one.role, "pid": one.pid, "problem": finding.found if failed else "", "note": note})
        if failed:
            problems.append(f"{finding.what}: {finding.found}")
    if not processes:
        problems.append(_nothing_runs(role, folder))
    if json:
        show_json({"status": "fail" if problems else "pass", "problems": problems, "processes": processes})
    else:
        for process in processes:
            text = process["problem"] or (WORKS + (f"; it {process['note']}" if process["note"] else ""))
            say(f"{process['role']} {process['pid']}: {text}", "red" if process["problem"] else None)
        if not processes:
            say(problems[0], "red")
    if problems:
        raise typer.Exit(FAILED)


def _nothing_runs(role: str | None, folder: Path) -> str:
    what = f"no {role}" if role else "no vtsync process"
    return f"{what} is running on this machine with the data folder {folder.parent}"

"""The command for probes: health."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.common import FAILED, Json, app, say, show_json, usage


@app.command()
def health(
    role: Annotated[str | None, typer.Option(help="worker, beat or web (default: whatever runs here).")] = None,
    max_age: Annotated[float, typer.Option(min=1, help="Seconds that a main loop may keep silent.")] = 60.0,
    pid: Annotated[int | None, typer.Option(help="Only the process with this id.")] = None,
    json: Json = False,
) -> None:
    """Whether this machine's processes work, for probes. Asks neither store nor broker."""
    import time

    from config.load import data_dir_of
    from worker.monitoring.pulse import ROLES, alive_folder, judge, pulses

    if role is not None and role not in ROLES:
        usage(f'there is no role "{role}"; there are: {", ".join(ROLES)}')
    folder = alive_folder(data_dir_of(os.environ.get("VTSYNC_CONFIG")))
    now = time.monotonic()
    wanted = (pulse for pulse in pulses(folder) if role in (None, pulse.role) and pid in (None, pulse.pid))
    verdicts = [judge(pulse, now, max_age) for pulse in wanted]
    problems = [f"{one.role} {one.pid}: {one.problem}" for one in verdicts if one.problem]
    if not verdicts:
        problems.append(_nobody(role, folder))
    if json:
        show_json({"status": "fail" if problems else "pass", "problems": problems, "processes": verdicts})
    else:
        for one in verdicts:
            words = one.problem or ("works" + (f"; it {one.note}" if one.note else ""))
            say(f"{one.role} {one.pid}: {words}", "red" if one.problem else None)
        if not verdicts:
            say(problems[0], "red")
    if problems:
        raise typer.Exit(FAILED)


def _nobody(role: str | None, folder: Path) -> str:
    what = f"no {role}" if role else "nothing of vtsync"
    return f"{what} runs on this machine with the data folder {folder.parent}"

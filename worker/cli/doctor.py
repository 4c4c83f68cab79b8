"""The command ``vtsync doctor``, which finds problems."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from worker.cli.common import FAILED, Json, app, local_time, say, say_what_codes_mean, show_json
from worker.core.text import counted

if TYPE_CHECKING:
    from worker.core.findings import Finding
    from worker.runtime import Runtime

_COLOURS = {"ok": None, "warning": "yellow", "problem": "red"}


@app.command()
def doctor(json: Json = False) -> None:
    """Find what is wrong, and say how to fix it.

    Checks the machine, the configuration, the store, the broker, the credentials and the fleet.
    """
    from config.load import find_file
    from worker.core.logs import set_up_logging
    from worker.doctor.examine import examine
    from worker.runtime import open_runtime

    set_up_logging("error")
    findings = []
    for finding in examine(find_file(), open_runtime, _recall):
        findings.append(finding)
        if not json:
            _show(finding)
    problems = sum(one.level == "problem" for one in findings)
    warnings = sum(one.level == "warning" for one in findings)
    if json:
        fields = ("what", "level", "found", "why", "do", "code", "docs")
        show_json([{name: getattr(one, name) for name in fields} for one in findings])
    else:
        say()
        say(
            f"{counted(problems, 'problem')}, {counted(warnings, 'warning')}."
            if problems or warnings
            else "Everything is fine.",
            "bold",
        )
        say_what_codes_mean(findings)
    if problems:
        raise typer.Exit(FAILED)


def _recall() -> tuple[Runtime, str] | None:
    """Return a runtime with the configuration that was last in use, and a sentence about it."""
    from config.load import last_good
    from worker.runtime import Runtime

    found = last_good()
    if found is None:
        return None
    return Runtime(found.settings), f"the one of {local_time(found.since)}, which was last in use, is used here"


def _show(finding: Finding) -> None:
    colour = _COLOURS[finding.level]
    mark = finding.level.upper() if finding.level == "problem" else finding.level
    say(f"{mark:8} {finding.what}: {finding.found}{finding.mark}", colour, hang=9)
    if finding.do:
        say(f"         why: {finding.why}", hang=14)
        say(f"         do:  {finding.do}", hang=14)

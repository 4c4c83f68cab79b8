"""``/health/fleet``: the state of the whole fleet, from checks that make no request to VirtualText or a CRM."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel

from worker.core.findings import Level
from worker.doctor.checks import checks_for
from worker.doctor.examine import run_checks
from worker.runtime import Runtime

Status: TypeAlias = Literal["pass", "warn", "fail"]
_STATUS: dict[Level, Status] = {Level.OK: "pass", Level.WARNING: "warn", Level.PROBLEM: "fail"}


class CheckOut(BaseModel):
    """One check: what was found, why it matters, what to do, a stable code, and the page that explains it.

    All but what was found are empty if nothing is wrong.
    """

    what: str
    status: Status
    found: str
    why: str
    do: str
    code: str
    docs: str


class FleetOut(BaseModel):
    """The worst status of all checks, and a sentence for each that is not `pass`."""

    status: Status
    problems: list[str]
    checks: list[CheckOut]


def fleet_health(runtime: Runtime) -> FleetOut:
    """Check the store, the broker, and what the store says about processes, work and accounts."""
    findings = list(run_checks(checks_for(runtime, "health")))
    checks = [
        CheckOut(
            what=f.what,
            status=_STATUS[f.level],
            found=f.found,
            why=f.why,
            do=f.do,
            code=f.code or "",
            docs=f.docs,
        )
        for f in findings
    ]
    worst: Status = max((one.status for one in checks), key=("pass", "warn", "fail").index)
    problems = [f"{one.what}: {one.detail}" for one in findings if one.level is not Level.OK]
    return FleetOut(status=worst, problems=problems, checks=checks)

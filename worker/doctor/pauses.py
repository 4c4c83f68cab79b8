"""What people have paused. A long pause is listed with what waits for a person: it may have been forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta

from worker.core.findings import Finding, FindingCode, ok, warning
from worker.core.states import PauseKind
from worker.store.pauses import Pause

LONG_PAUSE = timedelta(days=1)
_MEANS = {
    PauseKind.CONNECTION: "changes in this CRM do not arrive",
    PauseKind.TRIGGER: "its texts are held, and expire",
}


def judge_pause(kind: PauseKind, name: str, pause: Pause, now: datetime) -> Finding:
    """Judge something that is paused. Pure."""
    what, command = f"{kind} {name}", f"vtsync resume {kind} {name}"
    if now - pause.since < LONG_PAUSE:
        return ok(what, f"is {pause}; `{command}` ends the pause")
    do = f"run `{command}` if the pause is not wanted any more"
    return warning(FindingCode.PAUSED, what, f"is {pause}", _MEANS[kind], do, command=command, since=pause.since)

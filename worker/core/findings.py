"""The result of a check, for `vtsync check`, `doctor`, `status`, `health` and ``/health/fleet``.

Checks produce findings; each command or endpoint selects the ones it needs and renders them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from config.alert_kinds import AlertKind


class Level(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    """It works, but perhaps not for long or not as expected."""
    PROBLEM = "problem"
    """Something does not work, or a text could be lost or sent by mistake."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. ``why`` it matters and what to ``do`` now are empty when nothing is wrong.

    ``what`` names the subject, such as ``account main``; ``found`` describes its state. ``command`` is the first
    command to run, where there is one. ``count`` is the number of rows that the finding stands for. ``since``: when the
    oldest of these rows began to wait, or when this state began; None: that is not known. ``alert``: people are told
    when this begins and when it ends; None: they see it when they look.
    """

    what: str
    level: Level
    found: str
    why: str = ""
    do: str = ""
    command: str = ""
    count: int = 1
    alert: AlertKind | None = None
    since: datetime | None = None

    @property
    def detail(self) -> str:
        """What was found and what to do, as one line."""
        return f"{self.found}; {self.do}" if self.do else self.found


def ok(what: str, found: str) -> Finding:
    """Make a finding that needs no action."""
    return Finding(what, Level.OK, found)


def warning(
    what: str,
    found: str,
    why: str,
    do: str,
    *,
    command: str = "",
    count: int = 1,
    alert: AlertKind | None = None,
    since: datetime | None = None,
) -> Finding:
    """Make a finding that somebody should look at."""
    return Finding(what, Level.WARNING, found, why, do, command, count, alert, since)


def problem(
    what: str,
    found: str,
    why: str,
    do: str,
    *,
    command: str = "",
    alert: AlertKind | None = None,
    since: datetime | None = None,
) -> Finding:
    """Make a finding that somebody must fix."""
    return Finding(what, Level.PROBLEM, found, why, do, command, alert=alert, since=since)

"""What a check found, in words for the person who runs this."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and may not for long, or not as expected."""
    PROBLEM = "problem"
    """Something does not work, or a text could be lost or come by surprise."""


@dataclass(frozen=True, slots=True)
class Finding:
    """``found`` is what is so; ``why`` it matters and what to ``do`` now are empty when all is well."""

    what: str
    level: Level
    found: str
    why: str = ""
    do: str = ""


def ok(what: str, found: str) -> Finding:
    """All is well."""
    return Finding(what, Level.OK, found)


def warning(what: str, found: str, why: str, do: str) -> Finding:
    """Worth a look."""
    return Finding(what, Level.WARNING, found, why, do)


def problem(what: str, found: str, why: str, do: str) -> Finding:
    """To be put right."""
    return Finding(what, Level.PROBLEM, found, why, do)


def size(amount: float) -> str:
    """Bytes as a person says them: ``1.5 GB``."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if amount >= 10 or unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"

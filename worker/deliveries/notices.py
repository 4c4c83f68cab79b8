"""A notice: what a channel of alerts tells people at once. Its JSON is the delivery's payload. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import orjson

from config.alert_kinds import AlertKind
from worker.core.findings import DOCS
from worker.core.text import counted

_LAST_LINE = f"`vtsync status` shows everything that waits for a person; {DOCS} explains each kind of alert."
NOTICE, DIGEST, TEST = "alert.notice", "alert.digest", "alert.test"


@dataclass(frozen=True, slots=True)
class NotedAlert:
    """One alert in a notice. ``since`` and ``ended_at`` are ISO 8601 in UTC."""

    kind: str
    urgent: bool
    found: str
    remedy: str
    since: str
    ended_at: str | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """What began, what still lasts, and what ended."""

    type: str
    at: datetime
    began: Sequence[NotedAlert] = ()
    lasts: Sequence[NotedAlert] = ()
    ended: Sequence[NotedAlert] = ()

    @property
    def title(self) -> str:
        """Say in one line what and how many, such as ``vtsync: 2 new alerts (sync failed, no tick)``."""
        if self.type == TEST:
            return "vtsync: test of this alert channel"
        parts = [
            f"{counted(len(group), word)} ({_kinds(group)})"
            for group, word in ((self.began, "new alert"), (self.lasts, "open alert"), (self.ended, "ended alert"))
            if group
        ]
        return f"vtsync: {', '.join(parts)}"

    @property
    def text(self) -> str:
        """Return the whole notice as plain text."""
        if self.type == TEST:
            return "This is a test. Alerts of vtsync arrive here.\n"
        blocks = [
            *_blocks("Began", self.began),
            *_blocks("Still open", self.lasts),
            *_blocks("Ended", self.ended),
        ]
        return "\n\n".join([*blocks, _LAST_LINE]) + "\n"

    def as_payload(self) -> str:
        """Return the JSON that is stored and sent to webhooks. It stays the same, however often it is delivered."""
        groups = {"began": self.began, "lasts": self.lasts, "ended": self.ended}
        data = {name: [asdict(one) for one in group] for name, group in groups.items()}
        whole = {"type": self.type, "timestamp": self.at.isoformat(), "data": {"title": self.title, **data}}
        return orjson.dumps(whole).decode()

    @classmethod
    def from_payload(cls, payload: str) -> Notice:
        """Read the JSON."""
        whole = orjson.loads(payload)
        groups = {name: [NotedAlert(**one) for one in whole["data"][name]] for name in ("began", "lasts", "ended")}
        return cls(whole["type"], datetime.fromisoformat(whole["timestamp"]), **groups)


def _kinds(group: Iterable[NotedAlert]) -> str:
    counts = Counter(_words(one.kind) for one in group)
    return ", ".join(f"{kind} ×{count}" if count > 1 else kind for kind, count in counts.items())  # noqa: RUF001


def _words(kind: str) -> str:
    return AlertKind(kind).words if kind in set(AlertKind) else kind.replace("_", " ")


def _blocks(heading: str, group: Sequence[NotedAlert]) -> list[str]:
    if not group:
        return []
    lines = []
    for one in group:
        until = f" until {_time(one.ended_at)}" if one.ended_at else ""
        urgent = "urgent: " if one.urgent and not one.ended_at else ""
        lines.append(f"- {urgent}{one.found} (since {_time(one.since)}{until})")
        if one.remedy and not one.ended_at:
            lines.append(f"  What to do: {one.remedy}")
    return ["\n".join([f"{heading}:", *lines])]


def _time(iso: str) -> str:
    return f"{datetime.fromisoformat(iso):%Y-%m-%d %H:%M} UTC"

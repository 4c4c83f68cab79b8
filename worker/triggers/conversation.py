"""What a condition can ask about the texts with a person: ``conversation.last_reply_at``, for example. Pure.

A conversation is all texts with one number, from and to all of our numbers. It is known when a trigger fires, and again
right before its text is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from config.types.times import parse_duration

CONVERSATION = "conversation"
SINCE = "replied_since", "texted_since"
CONVERSATION_FIELDS = ("last_text_at", "last_reply_at", "last_reply", *SINCE)
_MOMENTS: Mapping[str, tuple[str, ...]] = {"replied_since": ("trigger", "last_text"), "texted_since": ("trigger",)}


@dataclass(frozen=True, slots=True)
class ConversationFacts:
    """The texts with one number, as they are at ``now``. ``since``: when the text in question was called for.

    ``last_reply`` is what the person wrote last. It is for conditions only, and never shown.
    """

    now: datetime
    since: datetime
    last_text_at: datetime | None = None
    last_reply_at: datetime | None = None
    last_reply: str = ""

    @property
    def replied(self) -> bool:
        """True if the person has written since the text was called for."""
        return self.last_reply_at is not None and self.last_reply_at > self.since

    def values(self) -> dict[str, Any]:
        """Return what a condition can name. What never happened, such as a reply, is left out."""
        known: dict[str, Any] = {
            "last_text_at": _iso(self.last_text_at),
            "last_reply_at": _iso(self.last_reply_at),
            "last_reply": self.last_reply or None,
            "replied_since": _Since(self.last_reply_at, self.now, self.since, last_text=self.last_text_at),
            "texted_since": _Since(self.last_text_at, self.now, self.since),
        }
        return {name: value for name, value in known.items() if value is not None}


class _Since(dict[str, bool]):
    """If something happened since a moment: by the moment's name, or for how long ago it is, such as ``7d``."""

    def __init__(
        self, last: datetime | None, now: datetime, since: datetime, *, last_text: datetime | None = None
    ) -> None:
        super().__init__(trigger=last is not None and last > since)
        self["last_text"] = last is not None and (last_text is None or last > last_text)
        self._last, self._now = last, now

    def __missing__(self, ago: str) -> bool:
        """Return if it happened within this duration. Raises KeyError if it is none."""
        try:
            return self._last is not None and self._last > self._now - parse_duration(ago)
        except ValueError:
            raise KeyError(ago) from None


def is_about_conversation(path: Sequence[object]) -> bool:
    """Return True if a path names a part of the conversation. ``conversation`` alone is a field of the record."""
    return len(path) > 1 and path[0] == CONVERSATION


def conversation_fault(path: Sequence[object]) -> str:
    """Return what is wrong with a path into the conversation, for a person; "" if it is right."""
    _, name, *rest = path
    if name not in CONVERSATION_FIELDS:
        return f"{CONVERSATION} has no {name}; it has {', '.join(CONVERSATION_FIELDS)}"
    written = f"{CONVERSATION}.{name}"
    if name not in SINCE:
        return f"{written} is one plain value" if rest else ""
    moments = _MOMENTS[str(name)]
    if len(rest) == 1 and isinstance(rest[0], str) and (rest[0] in moments or _is_duration(rest[0])):
        return ""
    examples = [*(f"{written}.{moment}" for moment in moments), f"{written}['7d']"]
    return f"{written} needs a moment: {' or '.join(examples)}"


def _is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except ValueError:
        return False
    return True


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()

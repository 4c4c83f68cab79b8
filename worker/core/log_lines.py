"""What a line of a log may hold: no numbers, no credentials, no control characters, no more than some kilobytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from worker.core.phones import mask
from worker.core.text import visible

LONGEST_LINE = 8192
"""Bytes. The values of a longer line are cut until it fits."""
LONGEST_VALUE = 2000
"""Characters. A longer value ends with "…(n more)"."""
MOST_ITEMS = 50
_SHORTER = (LONGEST_VALUE, 500, 100)
_NEST = 5
_MASKED = 100_000
"""Characters of a long value that are masked before it is cut: the half of a secret cannot be recognized."""
_TRACEBACKS = ("exception", "stack")
_TRACEBACK_SHARE = 2.5
"""A traceback may be this much longer than another value. Its middle is left out, not its end, where the error is."""

_NUMBER = re.compile(r"(?:\+|%2[bB])[1-9]\d{7,14}(?!\d)")
_MASKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(://[^\s:/@\"']*:)[^\s/@\"']+(?=@)"), r"\1***"),
    (re.compile(r"(?i)\b((?:bearer|basic)\s+)(?=\S{8})[^\s\"',\\]+"), r"\1***"),
    (re.compile(r"\b(vtk_[0-9a-f]{12}_)[0-9A-Za-z_-]{20,}"), r"\1***"),
    (re.compile(r"(/(?:relay|crm/[^/\s\"']+)/)[^/\s\"'?{]{8,}"), r"\1***"),
    (re.compile(r"(?i)([?&](?:[\w-]*(?:token|secret|password|key|signature)|code|state)=)[^&\s\"']+"), r"\1***"),
    # PostgreSQL quotes whole rows here, and with them texts and numbers.
    (re.compile(r"(\bDETAIL:\s+)[^\n]*"), r"\1(not shown)"),
)

Render: TypeAlias = Callable[[Any, str, Any], Any]


def masked(text: str) -> str:
    """Return the text with phone numbers and credentials made unreadable."""
    text = _NUMBER.sub(lambda found: mask(found[0].replace("%2b", "+").replace("%2B", "+")), text)
    for pattern, instead in _MASKS:
        text = pattern.sub(instead, text)
    return text


class BoundedRenderer:
    """A renderer whose lines have at most ``LONGEST_LINE`` bytes. ``render`` makes the line; see structlog."""

    def __init__(self, render: Render) -> None:
        self._render = render

    def __call__(self, logger: Any, method: str, event: Mapping[str, Any]) -> str:
        """Render the event, with shorter values if the line is too long."""
        for longest in _SHORTER:
            line = str(self._render(logger, method, _bounded_event(event, longest)))
            if len(line.encode("utf-8", "replace")) <= LONGEST_LINE:
                return line
        kept = {name: event[name] for name in ("event", "level", "timestamp") if name in event}
        kept["fields_left_out"] = len(event) - len(kept)
        return str(self._render(logger, method, _bounded_event(kept, _SHORTER[-1])))


def _bounded_event(event: Mapping[str, Any], longest: int) -> dict[str, Any]:
    traces = {name: event[name] for name in _TRACEBACKS if isinstance(event.get(name), str)}
    others: dict[str, Any] = _bounded({name: value for name, value in event.items() if name not in traces}, longest)
    return others | {name: _ends(trace, int(longest * _TRACEBACK_SHARE)) for name, trace in traces.items()}


def _bounded(value: Any, longest: int, depth: int = _NEST) -> Any:
    """Return a copy in which every text is masked and cut, and no list or mapping is long."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth and isinstance(value, Mapping):
        items = [(_short(str(key), longest), _bounded(item, longest, depth - 1)) for key, item in value.items()]
        rest = {"…": f"({len(items) - MOST_ITEMS:,} more)"} if len(items) > MOST_ITEMS else {}
        return dict(items[:MOST_ITEMS]) | rest
    if depth and isinstance(value, list | tuple | set | frozenset):
        found = [_bounded(item, longest, depth - 1) for item in list(value)[:MOST_ITEMS]]
        return found + ([f"…({len(value) - MOST_ITEMS:,} more)"] if len(value) > MOST_ITEMS else [])
    return _short(value if isinstance(value, str) else repr(value), longest)


def _short(text: str, longest: int) -> str:
    """Return the text as it may be in a log; if it is long, only its beginning and how many characters are missing."""
    start = _on_one_line(masked(text[:_MASKED]))
    return start if len(text) <= longest else f"{start[:longest]}…({len(text) - longest:,} more)"


def _ends(text: str, longest: int) -> str:
    """Return the text like ``_short``, but without its middle."""
    if len(text) <= longest:
        return visible(masked(text))
    half = longest // 2
    start, end = visible(masked(text[:_MASKED])), visible(masked(text[-_MASKED:]))
    return f"{start[:half]}…({len(text) - 2 * half:,} more)…{end[-half:]}"


def _on_one_line(text: str) -> str:
    """Return a value that can neither begin a line of its own nor control a terminal."""
    return visible(text).replace("\n", "\\n")

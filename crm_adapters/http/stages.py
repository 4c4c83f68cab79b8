"""Several lists of one CRM, such as persons and deals, in one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeAlias

from crm_adapters.base import ContactChange, Cursor, CursorExpired, Page, UnreadableRecord
from crm_adapters.http.changes import OVERLAP, ChangeWindow

Changes: TypeAlias = Sequence[ContactChange | UnreadableRecord]
Stage: TypeAlias = Callable[[ChangeWindow], Iterator[tuple[Changes, ChangeWindow]]]
"""Reads one list. It yields changes, and the window after them."""


def first_state(cursor: Cursor | None, known: Sequence[str]) -> dict[str, Any]:
    """Return the state of a run for ``read_stages``. ``known`` are the names that stages may have.

    Raises CursorExpired for a cursor that another version of the adapter wrote.
    """
    state = dict(cursor or {})
    if cursor is not None and (state.get("at", "") not in ("", *known) or not any(name in state for name in known)):
        raise CursorExpired("the stored cursor was written by another version of the adapter")
    return state


def read_stages(
    state: dict[str, Any], stages: Mapping[str, Stage], size: int, *, overlap: timedelta = OVERLAP
) -> Iterator[Page]:
    """Read one list after the other, and yield pages of at most ``size`` changes.

    Each stage has a window of its own in ``state``, under its name. ``at`` is the stage where a run continues that was
    interrupted; "" if it was not. A stage may add keys of its own to ``state``.

        state = first_state(cursor, self.kinds)
        yield from read_stages(state, {kind: partial(self._changes, kind) for kind in self.kinds}, self.page_size)
    """
    names = [*stages]
    first = names.index(state["at"]) if state.get("at") in stages else 0
    for name, following in zip(names[first:], [*names[first + 1 :], ""], strict=True):
        state["at"] = name
        for changes, window in stages[name](ChangeWindow.of(state.get(name), overlap)):
            # A window resumes after the whole batch, so all parts of a large batch but the last have the one before it.
            for start in range(0, len(changes) - size, size):
                yield Page(changes[start : start + size], {**state, name: state.get(name)})
            state |= {name: window.cursor(), "at": following if window.is_complete else name}
            yield Page(changes[(len(changes) - 1) // size * size :] if changes else (), dict(state))
    if state["at"]:
        yield Page((), {**state, "at": ""})

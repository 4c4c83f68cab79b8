"""Where a run starts: after the stored cursor, or at the top. Pure.

A run from the top is a listing: what it does not show is gone. The bitmap of the records that it has shown is stored
with the cursor, so that a listing survives an interruption.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from crm_adapters.base import Adapter, CursorExpired, ListsIds, Removals
from worker.contacts.seen import SeenRecords
from worker.contacts.shape import Shape


@dataclass(frozen=True, slots=True)
class Position:
    """The cursor (JSON; None: the top), and the listing in progress; None if the run does not see every record.

    ``resumes``: it continues after a cursor. ``restarted``: why it does not continue after the stored cursor, for a
    person; "" if it does, or if there was none. ``changed_settings``: the settings of the connection are others than in
    the last run.
    """

    cursor: str | None
    listing: SeenRecords | None
    resumes: bool
    restarted: str = ""
    changed_settings: bool = False


def start_position(
    stored: Mapping[str, Any],
    fingerprint: str,
    adapter: Adapter,
    reconcile: timedelta | None,
    now: datetime,
    shape: Shape,
    full: str = "",
) -> Position:
    """Decide where the next run starts.

    ``stored`` has the columns of ``connection_state``. A store of an earlier version has no fingerprint: it gets this
    one. ``reconcile``: how often everything is read if the adapter cannot report or list what was removed. ``full``:
    why everything is read in any case; "" if that depends on the rest.
    """
    why, changed = full, stored["fingerprint"] not in ("", fingerprint)
    if not why and changed:
        why = "the connection's settings, or the fields that the configuration uses, have changed"
    elif not why and stored["listing"] is None:
        if not shape.kinds.keys() >= set(adapter.kinds):
            why = "the adapter reads another kind of record now"
        elif _must_reread(adapter) and is_due(stored["reconciled_at"], reconcile, now):
            why = "this CRM does not report deletions"
    if stored["cursor"] is None or why:
        return Position(None, SeenRecords(), False, why if stored["cursor"] is not None else "", changed)
    listing = None if stored["listing"] is None else SeenRecords.load(stored["listing"])
    return Position(str(stored["cursor"]), listing, True)


def expired_reason(error: CursorExpired) -> str:
    """Return why everything is read if the CRM does not accept the cursor, for a person."""
    return f"the CRM no longer accepts the stored position ({error})"


def comparison_due(stored: Mapping[str, Any], adapter: Adapter, reconcile: timedelta | None, now: datetime) -> bool:
    """Return True if the ids of the CRM should be compared with the stored ones after this run."""
    return (
        isinstance(adapter, ListsIds)
        and adapter.removals is not Removals.ABSENT
        and is_due(stored["reconciled_at"], reconcile, now)
    )


def is_due(last: datetime | None, every: timedelta | None, now: datetime) -> bool:
    """Return True if something that is done ``every`` so often (None: never) was not done for that long."""
    return every is not None and (last is None or now - last >= every)


def interval(reconcile: timedelta | Literal["never"]) -> timedelta | None:
    """Return the setting ``reconcile`` as an interval; None for "never"."""
    return None if reconcile == "never" else reconcile


def _must_reread(adapter: Adapter) -> bool:
    return adapter.removals is Removals.UNSEEN and not isinstance(adapter, ListsIds)

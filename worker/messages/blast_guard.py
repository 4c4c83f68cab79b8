"""The blast guard: how many people a trigger may text in 24 hours before a person has approved it.

It counts over a day and not over a sync, because an import may arrive in slices: 480 people, 24 with each sync.
Everybody counts whom the trigger texts, or would text: those who were texted, and those whose texts are queued or wait.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Connection, func, not_, select

from worker.core.text import counted
from worker.messages.trigger_history import DAY, LEAST_DAYS, PEOPLE, earlier_days, not_approved_today
from worker.store.sql import any_of


def allowed_today(limit: int, earlier: Sequence[int] | None) -> int:
    """Return how many people a trigger may text in 24 hours without approval. Pure.

    That is ``limit``, or, if it is more, as many as the trigger reached on three of the earlier days. Three, because an
    import on one day, approved or not, must not allow the same on the next. ``earlier`` is None for a short past.
    """
    usual = 0 if earlier is None else sorted(earlier, reverse=True)[LEAST_DAYS - 1]
    return max(limit, usual)


def over_the_day(
    trigger: str, people: int, limit: int, earlier: Sequence[int] | None, *, setting: str = "policy.blast_limit"
) -> str | None:
    """Return why texts of ``trigger`` to ``people`` in 24 hours must wait, for a person; None: they need not. Pure.

    ``setting``: the name of the limit.
    """
    allowed = allowed_today(limit, earlier)
    if people <= allowed:
        return None
    usual = f", and usually texts {allowed}" if allowed > limit else ""
    return (
        f"its trigger would text {counted(people, 'person', 'people')} in 24 hours, more than {setting}"
        f" ({limit}) allows without approval{usual}; look at the texts, then run"
        f" `vtsync approve --trigger {trigger}` or `vtsync cancel --trigger {trigger}`"
    )


def reason_to_hold(
    connection: Connection,
    trigger: str,
    limit: int,
    now: datetime,
    also: Collection[str] = (),
    *,
    setting: str = "policy.blast_limit",
    rehearsed: bool = False,
) -> str | None:
    """Return why further texts of ``trigger`` must wait for approval now; None: they need not.

    ``also``: the numbers of texts that are not stored. ``setting``: the name of the limit. ``rehearsed``: see
    ``texts_of``.
    """
    people = people_today(connection, trigger, now, also, rehearsed=rehearsed)
    if people <= limit:  # the earlier days can only allow more
        return None
    earlier = earlier_days(connection, trigger, PEOPLE, now - DAY, rehearsed=rehearsed)
    return over_the_day(trigger, people, limit, earlier, setting=setting)


def people_today(
    connection: Connection, trigger: str, now: datetime, also: Collection[str] = (), *, rehearsed: bool = False
) -> int:
    """Count the people whom ``trigger`` texts or would text in these 24 hours, without approval, and ``also`` them."""
    where = not_approved_today(connection, trigger, now, rehearsed=rehearsed)
    if also:
        where = (*where, not_(any_of(connection, PEOPLE, also)))
    people = connection.execute(select(func.count(PEOPLE.distinct())).where(*where)).scalar_one()
    return people + len(set(also))

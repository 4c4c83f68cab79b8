"""The breaker stops a trigger that suddenly texts far more than it used to, until a person has looked at it.

It counts texts and compares with the trigger's past, so a trigger with fewer than three earlier days of texts has only
the blast guard (``worker.messages.blast_guard``), which counts people. Texts that do not come from a sync have no blast
guard: for them, the limit of the blast guard is the most texts in a day until there is a past.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select

from config.policy import Policy
from worker.messages.trigger_history import DAY, TEXTS, earlier_days, not_approved_today


def trips(
    fired_last_24h: int, busiest_earlier_day: int | None, policy: Policy, first_limit: int | None = None
) -> str | None:
    """Return why the trigger must be held, for a person; None: it need not be held.

    ``busiest_earlier_day``: the most texts on one of the 28 days before; None while its past is too short. Until then
    ``first_limit`` is the limit (None: no limit, because the blast guard counts its texts).
    """
    if busiest_earlier_day is not None:
        most = max(policy.breaker_floor, policy.breaker_factor * busiest_earlier_day)
        why = (
            f"and {busiest_earlier_day} on its busiest earlier day"
            f" ({policy.setting('breaker_factor')} allows up to {most:.0f})"
        )
    elif first_limit is not None:
        most = first_limit
        why = f"and has no earlier days to compare with ({policy.setting('blast_limit')} allows up to {most})"
    else:
        return None
    if fired_last_24h <= most:
        return None
    return (
        f"its trigger made {fired_last_24h} texts in 24 hours, {why}; look at the texts, then run"
        " `vtsync approve --trigger NAME` or `vtsync cancel --trigger NAME`"
    )


def check(
    connection: Connection,
    trigger: str,
    policy: Policy,
    now: datetime,
    *,
    more: int = 0,
    first_limit: int | None = None,
    rehearsed: bool = False,
) -> str | None:
    """Return why further texts of ``trigger`` must be held now; None: they need not be held.

    ``more``: texts that are about to be added and not stored yet. ``first_limit``: see ``trips``.
    ``rehearsed``: see ``texts_of``.
    """
    today = not_approved_today(connection, trigger, now, rehearsed=rehearsed)
    fired = connection.execute(select(func.count()).where(*today)).scalar_one()
    earlier = earlier_days(connection, trigger, TEXTS, now - DAY, rehearsed=rehearsed)
    reason = trips(fired + more, None if earlier is None else max(earlier), policy, first_limit)
    return None if reason is None else reason.replace("--trigger NAME", f"--trigger {trigger}")

"""Whether an account may be called now. Shared by everything that calls VirtualText, in every process.

* **stopped**: the credential or the URL is wrong. Thousands of further requests help no one: after
  ``PROBE_INTERVAL`` one single request, the probe, tries whether a person has put it right.
* **paused**: the platform asked to wait (429), could not be reached, or fails again and again; after failures, one
  single request tries first (``worker.limits.adaptive_rate``).
* **slowed down**: a 429 lowers the rate of the whole fleet for a while.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, RowMapping, func, or_, select, update

from worker.limits.adaptive_rate import SAME_STORM, ceiling_now, lowered, open_for, rate_at_429
from worker.store.sql import insert
from worker.store.tables import account_state

PROBE_INTERVAL = timedelta(minutes=10)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Permit:
    """Truthy when the account may be called. ``probe``: with one single request only, see ``begin_probe``.

    When not: ``reason`` says why, for a person, and ``until`` when to ask again. ``ceiling``: with at most so many
    requests a second; None: whatever is configured.
    """

    allowed: bool
    reason: str = ""
    until: datetime | None = None
    probe: bool = False
    ceiling: float | None = None

    def __bool__(self) -> bool:
        return self.allowed

    def seconds(self, now: datetime) -> float:
        """How long to wait before asking again."""
        return 0.0 if self.until is None else max((self.until - now).total_seconds(), 0.0)


def may_call(connection: Connection, account: str, now: datetime) -> Permit:
    """Whether requests may be made for ``account`` now."""
    row = _row(connection, account)
    if row is None:
        return Permit(True)
    waits = row["paused_until"] is not None and row["paused_until"] > now
    if row["stopped_at"] is not None:
        reason = f"the account {account} is stopped: {row['stopped_reason']}"
        return Permit(not waits, reason, row["paused_until"] if waits else None, probe=not waits)
    if waits:
        return Permit(False, f"the account {account} pauses: {row['pause_reason']}", row["paused_until"])
    ceiling = ceiling_now(row["rate_ceiling"], row["rate_lowered_at"], now)
    failing = row["trips"] > 0
    reason = f"the account {account} tries one request: {row['pause_reason']}" if failing else ""
    return Permit(True, reason, probe=failing, ceiling=ceiling)


def begin_probe(connection: Connection, account: str, now: datetime, seconds: float) -> bool:
    """Take the one probe of a stopped or failing account; False when another worker took it.

    ``seconds`` is the longest that the probe can take. One that proves nothing, or whose worker vanished, is
    followed by another then.
    """
    taken = connection.execute(
        update(account_state)
        .where(
            account_state.c.account == account,
            or_(account_state.c.stopped_at.is_not(None), account_state.c.trips > 0),
            or_(account_state.c.paused_until.is_(None), account_state.c.paused_until <= now),
        )
        .values(paused_until=now + timedelta(seconds=seconds))
    )
    return taken.rowcount == 1


def stop_account(connection: Connection, account: str, reason: str, now: datetime) -> None:
    """Make no more requests for ``account`` until a probe succeeds. ``reason`` is for a person."""
    before = _row(connection, account)
    statement = insert(connection, account_state).values(
        account=account, stopped_at=now, stopped_reason=reason, paused_until=now + PROBE_INTERVAL
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["account"],
            set_={
                "stopped_at": func.coalesce(account_state.c.stopped_at, statement.excluded.stopped_at),
                "stopped_reason": statement.excluded.stopped_reason,
                "paused_until": statement.excluded.paused_until,
            },
        )
    )
    if before is None or before["stopped_at"] is None or before["stopped_reason"] != reason:
        log.error(
            "account stopped",
            account=account,
            reason=reason,
            do=f"correct uid, token and URLs of [accounts.{account}], run `vtsync check`. Nothing is lost:"
            f" texts and contacts wait; one is tried every {PROBE_INTERVAL.seconds // 60} minutes.",
        )


def pause_account(connection: Connection, account: str, until: datetime, reason: str) -> None:
    """Make no requests for ``account`` before ``until``; never shortens a pause. ``reason`` is for a person."""
    statement = insert(connection, account_state).values(
        account=account, stopped_reason="", paused_until=until, pause_reason=reason
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["account"],
            set_={"paused_until": statement.excluded.paused_until, "pause_reason": statement.excluded.pause_reason},
            where=or_(
                account_state.c.paused_until.is_(None),
                account_state.c.paused_until < statement.excluded.paused_until,
            ),
        )
    )


def slow_down(connection: Connection, account: str, rate: float, now: datetime) -> None:
    """A 429 came while the fleet made ``rate`` requests a second, or as many as its ceiling allowed: lower that."""
    row = _row(connection, account)
    if row is not None and row["rate_lowered_at"] is not None:
        if now - row["rate_lowered_at"] < SAME_STORM:
            return
        rate = rate_at_429(rate, ceiling_now(row["rate_ceiling"], row["rate_lowered_at"], now), row["rate_ceiling"])
    values = {"rate_ceiling": lowered(rate), "rate_lowered_at": now}
    statement = insert(connection, account_state).values(account=account, stopped_reason="", **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["account"], set_=values))
    log.warning("VirtualText asked for fewer requests", account=account, requests_per_second=round(lowered(rate), 2))


def open_breaker(connection: Connection, account: str, now: datetime, words: str, *, probe: bool) -> None:
    """Ask nothing for a while: VirtualText fails. ``words`` says how; ``probe``: it was the one that tried again."""
    statement = insert(connection, account_state).values(account=account, stopped_reason="")
    # Also locks the row, so that no trip is lost.
    row = connection.execute(
        statement.on_conflict_do_update(index_elements=["account"], set_={"account": account}).returning(
            account_state.c.trips, account_state.c.paused_until
        )
    ).one()
    if not probe and row.paused_until is not None and row.paused_until > now:
        return  # on their way when the breaker opened: known already
    seconds = open_for(row.trips + 1)
    reason = f"VirtualText fails again and again ({words}); then one request tries whether it works"
    values = {"trips": row.trips + 1, "paused_until": now + seconds, "pause_reason": reason}
    connection.execute(update(account_state).where(account_state.c.account == account).values(**values))
    log.error("VirtualText fails, account pauses", account=account, seconds=seconds.seconds, last=words)


def close_breaker(connection: Connection, account: str) -> None:
    """The request that tried again was answered."""
    failing = update(account_state).where(account_state.c.account == account, account_state.c.trips > 0)
    if connection.execute(failing.values(trips=0, paused_until=None, pause_reason="")).rowcount:
        log.info("VirtualText works again", account=account)


def clear_stop(connection: Connection, account: str, began_at: datetime | None = None) -> bool:
    """The account works again. Returns whether it was stopped.

    ``began_at`` is when the request began that proves it: one that began before the stop proves nothing.
    None: a person says so.
    """
    stopped = account_state.c.stopped_at.is_not(None)
    proven = or_(stopped, account_state.c.trips > 0) if began_at is None else account_state.c.stopped_at <= began_at
    cleared = connection.execute(
        update(account_state)
        .where(account_state.c.account == account, proven)
        .values(stopped_at=None, stopped_reason="", paused_until=None, pause_reason="", trips=0)
    )
    if cleared.rowcount:
        log.info("account works again", account=account)
    return cleared.rowcount == 1


def _row(connection: Connection, account: str) -> RowMapping | None:
    return connection.execute(select(account_state).where(account_state.c.account == account)).mappings().first()

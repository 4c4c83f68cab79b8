"""Decides if an account may be called now. Every process asks this module before it calls VirtualText.

* **stopped**: the credential or the URL is wrong. More requests would not help: after ``PROBE_INTERVAL`` one single
  request, the probe, finds out whether a person has corrected it.
* **paused**: the platform asked to wait (429), could not be reached, or fails repeatedly. After failures, and after a
  429 that asked for longer than we wait, a probe goes first (``worker.limits.adaptive_rate``).
* **slowed down**: a 429 lowers the rate of the whole fleet for a while.

``worker.limits.account_effect`` decides what a response means for the account; ``apply_effect`` stores it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, Engine, RowMapping, and_, case, func, not_, or_, select, update

from worker.limits.account_effect import AccountEffect
from worker.limits.adaptive_rate import BREAKER_BACKOFF, SAME_STORM, ceiling_now, lowered_rate, rate_at_429
from worker.limits.limiter import PATIENCE_SECONDS
from worker.store.db import reading
from worker.store.models import utcnow
from worker.store.sql import insert
from worker.store.tables import account_state

PROBE_INTERVAL = timedelta(minutes=10)
LONGEST_WAIT = timedelta(days=1)
"""No response pauses an account for longer. A longer pause is a person's matter, and only its author ends it."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Permit:
    """Truthy when the account may be called. ``probe``: with one single request only, see ``begin_probe``.

    When falsy: ``reason`` says why, for a person, and ``until`` when to ask again. ``ceiling``: make at most this many
    requests a second; None: as many as configured.
    """

    allowed: bool
    reason: str = ""
    until: datetime | None = None
    probe: bool = False
    ceiling: float | None = None

    def __bool__(self) -> bool:
        return self.allowed

    def seconds(self, now: datetime) -> float:
        """Return how long to wait before asking again."""
        return 0.0 if self.until is None else max((self.until - now).total_seconds(), 0.0)


def permitted(engine: Engine, account: str, wait: Callable[[float], bool]) -> Permit:
    """Return the account's permit. Wait for a pause that ends within ``PATIENCE_SECONDS``.

    ``wait`` sleeps for some seconds and returns False if a stop is requested, as ``StopSignal.wait`` does.
    """
    while True:
        with reading(engine) as connection:
            permit = may_call(connection, account, now := utcnow())
        seconds = permit.seconds(now)
        if permit or seconds > PATIENCE_SECONDS or not wait(seconds):
            return permit


def may_call(connection: Connection, account: str, now: datetime) -> Permit:
    """Return the permit for requests of ``account`` now."""
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
    """Take the one probe of a stopped or failing account. Return False when another worker took it.

    ``seconds`` is the longest that the probe can take. If it proves nothing, or its worker vanishes, the next probe
    may follow after that time.
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


def apply_effect(
    connection: Connection,
    account: str,
    effect: AccountEffect,
    now: datetime,
    *,
    began_at: datetime,
    probe: bool = False,
    rate: float | None = None,
) -> None:
    """Store what a response, or a batch of them, means for the account.

    ``began_at`` is when the request began, ``probe`` whether it was the probe, ``rate`` how many requests a second the
    fleet made (``Limiter.observed_rate``); only a 429 needs it.
    """
    if effect.stop:
        stop_account(connection, account, effect.stop, now)
    if effect.pause is not None:
        pause_account(connection, account, now + effect.pause, effect.pause_reason, probe_after=effect.probe_after)
    if effect.lowers_rate and rate is not None:
        slow_down(connection, account, rate, now)
    if effect.opens_breaker:
        open_breaker(connection, account, now, effect.opens_breaker, probe=probe)
    elif effect.works_again:
        clear_stop(connection, account, began_at)


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
            do=f"correct uid, token and URLs of [accounts.{account}], then run `vtsync check`. Nothing is lost:"
            f" texts and contacts wait; one request is tried every {PROBE_INTERVAL.seconds // 60} minutes.",
        )


def pause_account(
    connection: Connection, account: str, until: datetime, reason: str, *, probe_after: bool = False
) -> None:
    """Make no requests for ``account`` before ``until``. Never shortens a pause. ``reason`` is for a person.

    ``probe_after``: then make a single one, the probe.
    """
    a = account_state.c
    statement = insert(connection, account_state).values(
        account=account, stopped_reason="", paused_until=until, pause_reason=reason, trips=int(probe_after)
    )
    put = statement.excluded
    values = {"paused_until": put.paused_until, "pause_reason": put.pause_reason}
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["account"],
            set_=values | {"trips": case((a.trips < put.trips, put.trips), else_=a.trips)},
            where=or_(a.paused_until.is_(None), a.paused_until < put.paused_until),
        )
    )


def slow_down(connection: Connection, account: str, rate: float, now: datetime) -> None:
    """Lower the ceiling after a 429 that came while the fleet made ``rate`` requests a second."""
    row = _row(connection, account)
    if row is not None and row["rate_lowered_at"] is not None:
        if now - row["rate_lowered_at"] < SAME_STORM:
            return
        rate = rate_at_429(rate, ceiling_now(row["rate_ceiling"], row["rate_lowered_at"], now), row["rate_ceiling"])
    values = {"rate_ceiling": lowered_rate(rate), "rate_lowered_at": now}
    statement = insert(connection, account_state).values(account=account, stopped_reason="", **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["account"], set_=values))
    log.warning(
        "VirtualText asked for fewer requests", account=account, requests_per_second=round(lowered_rate(rate), 2)
    )


def open_breaker(connection: Connection, account: str, now: datetime, failure: str, *, probe: bool) -> None:
    """Make no requests for a while, because VirtualText fails. ``failure`` says how; ``probe``: the probe failed."""
    statement = insert(connection, account_state).values(account=account, stopped_reason="")
    # Also locks the row, so that no trip is lost.
    row = connection.execute(
        statement.on_conflict_do_update(index_elements=["account"], set_={"account": account}).returning(
            account_state.c.trips, account_state.c.paused_until
        )
    ).one()
    if not probe and row.paused_until is not None and row.paused_until > now:
        return  # this request was already under way when the breaker opened
    wait = BREAKER_BACKOFF.wait(row.trips + 1)
    reason = f"VirtualText fails repeatedly ({failure}); after the pause, one request tests whether it works"
    values = {"trips": row.trips + 1, "paused_until": now + wait, "pause_reason": reason}
    connection.execute(update(account_state).where(account_state.c.account == account).values(**values))
    log.error("VirtualText fails, account pauses", account=account, seconds=wait.seconds, last=failure)


def clear_stop(connection: Connection, account: str, began_at: datetime | None = None) -> bool:
    """End the stop and the breaker of an account that works again. Return whether there was one.

    ``began_at``: when the request that proves it began; it proves nothing about a later stop. None: a person has just
    made a request that was served, which also ends a pause that VirtualText asked for.
    """
    a, now = account_state.c, utcnow()
    a_persons_matter = func.coalesce(a.paused_until > now + LONGEST_WAIT, False)
    if began_at is None:
        paused = and_(a.paused_until > now, not_(a_persons_matter))
        proven = or_(a.stopped_at.is_not(None), a.trips > 0, paused)
    else:
        proven = or_(a.stopped_at <= began_at, and_(a.stopped_at.is_(None), a.trips > 0))
    cleared = connection.execute(
        update(account_state)
        .where(a.account == account, proven)
        .values(
            stopped_at=None,
            stopped_reason="",
            paused_until=case((a_persons_matter, a.paused_until), else_=None),
            pause_reason=case((a_persons_matter, a.pause_reason), else_=""),
            trips=0,
        )
    )
    if cleared.rowcount:
        log.info("account works again", account=account)
    return cleared.rowcount == 1


def _row(connection: Connection, account: str) -> RowMapping | None:
    return connection.execute(select(account_state).where(account_state.c.account == account)).mappings().first()

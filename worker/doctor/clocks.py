"""Judges clocks. vtsync goes by the store's clock (``worker.core.clock``), so that one must be right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, select

from worker.core.clock import NOTICED_SECONDS, describe_clock
from worker.core.findings import Finding, FindingCode, ok, problem, warning
from worker.monitoring.heartbeats import ALIVE_SECONDS
from worker.store.tables import heartbeat

ALIVE = timedelta(seconds=ALIVE_SECONDS)
NOTICED = timedelta(seconds=NOTICED_SECONDS)
TOO_MUCH = timedelta(seconds=30)
ALIKE_SECONDS = 2.0
"""Clocks of several machines that differ this little from each other are probably right."""


def judge_clock(whose: str, theirs: datetime, asked: datetime, answered: datetime) -> Finding:
    """Compare ``theirs`` with the fleet's time, which was read before (``asked``) and after (``answered``) it. Pure."""
    early, late = theirs - answered, theirs - asked
    # A difference that the round trip can explain does not count. A Date header has whole seconds.
    apart = early if early > timedelta(0) else min(late + timedelta(seconds=1), timedelta(0))
    if abs(apart) < NOTICED:
        return ok("clock", f"the store's is the same as that of {whose}")
    level = problem if abs(apart) >= TOO_MUCH else warning
    return level(
        FindingCode.CLOCK_WRONG,
        "clock",
        f"the store's clock is {describe_clock(-apart.total_seconds())} that of {whose}",
        "vtsync goes by the store's clock: if that is the wrong one, texts go out at the wrong hour",
        "synchronize the machine of the store by NTP (`timedatectl` shows its state)",
    )


def judge_own_clock(ahead: float) -> Finding:
    """Judge the clock of this machine, ``ahead`` seconds ahead of the store's. Pure."""
    if abs(ahead) < NOTICED_SECONDS:
        return ok("clock", "this machine's is the same as the store's")
    return _differs("this machine", ahead)


def check_clocks(db: Connection, now: datetime) -> Iterator[Finding]:
    """Compare the clocks of the machines with the store's, as their processes have reported them."""
    h, ahead = heartbeat.c, defaultdict(list)
    alive = select(h.id, h.clock_ahead).where(h.seen_at > now - ALIVE, h.clock_ahead.is_not(None)).order_by(h.id)
    for name, seconds in db.execute(alive):
        role, host, pid = name.split(":")
        ahead[host].append((f"{role} {pid}", seconds))
    yield from judge_fleet_clocks(ahead)


def judge_fleet_clocks(ahead: Mapping[str, Sequence[tuple[str, float]]]) -> Iterator[Finding]:
    """Judge the clocks of the machines. Pure.

    ``ahead`` has for each host its processes, and by how many seconds their clock is ahead of the store's.
    """
    worst = {host: max((one for _, one in processes), key=abs) for host, processes in ahead.items()}
    wrong = {host: seconds for host, seconds in worst.items() if abs(seconds) >= NOTICED_SECONDS}
    if len(wrong) > 1 and len(wrong) == len(worst) and max(wrong.values()) - min(wrong.values()) < ALIKE_SECONDS:
        yield problem(
            FindingCode.CLOCK_WRONG,
            "clock",
            f"the store's clock is {describe_clock(-next(iter(wrong.values())))} those of all {len(wrong)} machines",
            "vtsync goes by the store's clock: if that is the wrong one, texts go out at the wrong hour",
            "synchronize the machine of the store by NTP (`timedatectl` shows its state)",
            command="vtsync doctor",
        )
        return
    for host, seconds in sorted(wrong.items()):
        names = ", ".join(name for name, one in ahead[host] if abs(one) >= NOTICED_SECONDS)
        yield _differs(f"{host} ({names})", seconds)


def _differs(machine: str, ahead: float) -> Finding:
    return warning(
        FindingCode.CLOCK_WRONG,
        "clock",
        f"the clock of {machine} is {describe_clock(ahead)} the store's",
        "vtsync goes by the store's clock, so nothing is done twice or at the wrong hour because of this; but log lines"
        " have the wrong time, certificates and tokens can be refused, and the wrong clock may be the store's",
        "synchronize both machines by NTP (`timedatectl` shows the state of one)",
        command="vtsync doctor",
    )


def from_timestamp(seconds: int, microseconds: int) -> datetime:
    """Return the time that Redis tells in two parts."""
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)

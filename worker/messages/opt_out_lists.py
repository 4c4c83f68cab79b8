"""Other lists of opt-outs, such as a file or a carrier's: compares them with ours, and takes them over."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TextIO

from sqlalchemy import Connection, Engine, func, select

from worker.core.progress import Progress, untold
from worker.messages.opt_outs import NewOptOut, add_opt_outs, all_opt_outs, count_opt_outs, end_review, opted_out
from worker.policy.decide import FORGOTTEN, OptedOut
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.sql import any_of
from worker.store.tables import number_review, opt_out_event

AT_ONCE = 1000
CSV_HEADING = "phone,since,source,reason,account\r\n"

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class ComparedOptOuts(NamedTuple):
    """Opt-outs of another list: which numbers are new, which we know, and which of these are older there."""

    new: dict[str, NewOptOut]
    known: dict[str, NewOptOut]
    older: dict[str, NewOptOut]
    """Some of ``known``."""
    lifted: dict[str, datetime]
    """Numbers that opted in again after the time in the list, and when. They stay as they are."""

    def include(self, more: ComparedOptOuts) -> None:
        """Add what another part of the list showed."""
        self.new.update(more.new)
        self.known.update(more.known)
        self.older.update(more.older)
        self.lifted.update(more.lifted)


def compare_opt_outs(
    connection: Connection, given: Mapping[str, NewOptOut], *, may_be_old: bool = False
) -> ComparedOptOuts:
    """Compare opt-outs of another list with ours.

    One without a time counts as of today. ``may_be_old``: as of long ago, so that an opt-in that we know outranks it.
    """
    # A forgotten number may come back one day, so its opt-out is stored.
    before = {phone: one for phone, one in opted_out(connection, given).items() if one.source != FORGOTTEN}
    e = opt_out_event.c
    last = select(e.phone, func.max(e.at).label("at")).where(
        any_of(connection, e.phone, sorted(given.keys() - before.keys())), e.opted_out.is_(False)
    )
    opted_in = {row.phone: row.at for row in connection.execute(last.group_by(e.phone))}
    found = ComparedOptOuts({}, {}, {}, {})
    for phone, one in given.items():
        if phone in before:
            found.known[phone] = one
            if one.since is not None and one.since < before[phone].since:
                found.older[phone] = one
        elif phone in opted_in and (may_be_old if one.since is None else one.since <= opted_in[phone]):
            found.lifted[phone] = opted_in[phone]
        else:
            found.new[phone] = one
    return found


def merge_opt_outs(
    connection: Connection,
    given: Mapping[str, NewOptOut],
    *,
    source: str,
    now: datetime,
    actor: str,
    account: str = "",
    may_be_old: bool = False,
) -> ComparedOptOuts:
    """Take over the opt-outs of another list, and end the reviews of the numbers that are new.

    ``account``: the account whose list it is. ``may_be_old``: see ``compare_opt_outs``.
    """
    found = compare_opt_outs(connection, given, may_be_old=may_be_old)
    if found.new or found.older:
        add_opt_outs(connection, found.new | found.older, source=source, now=now, actor=actor, account=account)
    reviewed = select(number_review.c.phone).where(any_of(connection, number_review.c.phone, list(found.new)))
    for phone in connection.execute(reviewed).scalars().all():
        end_review(connection, phone, why=f"opted out ({source})", actor=actor, now=now)
    return found


def take_over(
    engine: Engine,
    given: Mapping[str, NewOptOut],
    *,
    source: str,
    actor: str,
    dry_run: bool,
    account: str = "",
    may_be_old: bool = False,
    progress: Progress = untold,
) -> ComparedOptOuts:
    """Do the work of ``merge_opt_outs`` for a list of any length, a thousand in a transaction. ``dry_run``: compare."""
    total, rows = ComparedOptOuts({}, {}, {}, {}), list(given.items())
    for start in range(0, len(rows), AT_ONCE):
        portion = dict(rows[start : start + AT_ONCE])
        if dry_run:
            with reading(engine) as connection:
                found = compare_opt_outs(connection, portion, may_be_old=may_be_old)
        else:
            with writing(engine) as connection:
                where: dict[str, Any] = {"account": account, "may_be_old": may_be_old}
                found = merge_opt_outs(connection, portion, source=source, now=utcnow(), actor=actor, **where)
        total.include(found)
        progress(min(start + AT_ONCE, len(rows)), len(rows))
    return total


def write_opt_outs(engine: Engine, file: TextIO, progress: Progress = untold) -> int:
    """Write all opt-outs as CSV, by number. Return how many."""
    count = 0
    with reading(engine) as connection:
        total = count_opt_outs(connection)
    file.write(CSV_HEADING)
    for portion in all_opt_outs(engine):
        file.write(as_csv(portion))
        count += len(portion)
        progress(count, total)
    return count


def as_csv(portion: Iterable[tuple[str, OptedOut | None]]) -> str:
    """Return opt-outs by number as lines of CSV. None: nothing but the number is told.

    A reason that a spreadsheet would take for a formula begins with an apostrophe.
    """
    lines = io.StringIO(newline="")
    writer = csv.writer(lines)
    for phone, one in portion:
        if one is None:
            writer.writerow([phone, "", "", "", ""])
            continue
        reason = f"'{one.detail}" if one.detail[:1] in _FORMULA else one.detail
        writer.writerow([phone, one.since.isoformat(), one.source, reason, one.account])
    return lines.getvalue()

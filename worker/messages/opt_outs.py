"""Opt-outs and reviews: which numbers must not be texted, and the proof of who said so and when.

This module is the only writer of ``opt_out``, ``number_review`` and their proofs, ``opt_out_event`` and
``review_event`` (erasure and migrations aside). So each change of an opt-out and each beginning and end of a review
has its proof and publishes its event, and a review that ends releases what it held.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy import insert as plain_insert

from config.event_types import EventType
from worker.messages.acquaintance import is_known_to
from worker.messages.events import publish_each
from worker.messages.forgotten import forgotten_numbers, let_back
from worker.messages.holds import release_holds
from worker.messages.transitions import reason_text
from worker.policy.decide import FORGOTTEN, OptedOut
from worker.store.db import reading
from worker.store.models import utcnow
from worker.store.sql import any_of, insert
from worker.store.tables import message, number_review, opt_out, opt_out_event, review_event

PORTION = 5000
NUMBER_CHANGED = "number_changed"
"""The source of an opt-out that follows a CRM record to its new number."""


def add_opt_out(
    connection: Connection,
    phone: str,
    *,
    source: str,
    detail: str,
    now: datetime,
    actor: str = "worker",
    account: str = "",
) -> bool:
    """Stop texting ``phone`` (E.164). Waiting texts are suppressed when they are due. False: it had opted out before.

    ``account``: the account through which this became known; "" for none.
    """
    given = {phone: NewOptOut(detail, account)}
    return bool(add_opt_outs(connection, given, source=source, now=now, actor=actor, account=account))


class NewOptOut(NamedTuple):
    """What to store of an opt-out. ``account``: see ``add_opt_out``. ``since``: if it is older than today."""

    detail: str
    account: str = ""
    since: datetime | None = None


def add_opt_outs(
    connection: Connection,
    given: Mapping[str, NewOptOut],
    *,
    source: str,
    now: datetime,
    actor: str,
    account: str = "",
) -> list[str]:
    """Add the opt-outs of several numbers. Return the numbers that are new. ``account``: of the event.

    Where a number had opted out before, the older time counts. That is proven, too, and announced to nobody.
    """
    # In one order, so that two transactions that add the same numbers wait and do not deadlock.
    rows = [
        {
            "phone": phone,
            "since": given[phone].since or now,
            "source": source,
            "detail": given[phone].detail,
            "account": given[phone].account,
        }
        for phone in sorted(given)
    ]
    added = insert(connection, opt_out).on_conflict_do_nothing().returning(opt_out.c.phone)
    new = list(connection.execute(added, rows).scalars())
    if new:
        kept = {phone: given[phone] for phone in new}
        _prove(connection, kept, True, source=source, now=now, actor=actor, account=account)
    if again := sorted(given.keys() - set(new)):
        # The person told a second account, too, so no account may lift it alone.
        of_others = (any_of(connection, opt_out.c.phone, again), opt_out.c.account != account)
        connection.execute(update(opt_out).where(*of_others).values(account=""))
        _date_back(connection, {phone: given[phone] for phone in again}, source=source, now=now, actor=actor)
    return new


def remove_opt_out(
    connection: Connection,
    phone: str,
    *,
    source: str,
    detail: str,
    now: datetime,
    actor: str = "worker",
    account: str = "",
    only_of: Collection[str] = (),
) -> bool:
    """Allow texts to ``phone`` again. Texts that were suppressed stay so. False: it had not opted out.

    ``only_of``: only if it became known through one of these accounts alone; empty: in any case. A number that was
    forgotten may come back with that.
    """
    mine = [opt_out.c.account.in_(only_of)] if only_of else []
    removed = connection.execute(delete(opt_out).where(opt_out.c.phone == phone, *mine)).rowcount == 1
    if not only_of and let_back(connection, phone, now) is not None:
        removed = True
    if removed:
        _prove(connection, {phone: NewOptOut(detail)}, False, source=source, now=now, actor=actor, account=account)
    return removed


def opted_out(connection: Connection, phones: Collection[str]) -> dict[str, OptedOut]:
    """Return those of ``phones`` that have opted out, or were forgotten."""
    rows = connection.execute(select(opt_out).where(any_of(connection, opt_out.c.phone, phones)))
    found = {row.phone: _read(row) for row in rows}
    others = [phone for phone in phones if phone not in found]
    erased = forgotten_numbers(connection, others)
    return found | {phone: OptedOut(one.at, FORGOTTEN) for phone, one in erased.items()}


def count_opt_outs(connection: Connection) -> int:
    """Count the numbers that must not be texted."""
    return connection.scalar(select(func.count()).select_from(opt_out)) or 0


def opt_outs_after(
    connection: Connection, after: str, limit: int, accounts: Collection[str] = ()
) -> list[tuple[str, OptedOut]]:
    """Return the next opt-outs by number. ``accounts``: only numbers that these know; empty: all."""
    p = opt_out.c
    mine = [is_known_to(p.phone, p.account, accounts)] if accounts else []
    rows = select(opt_out).where(p.phone > after, *mine).order_by(p.phone).limit(limit)
    return [(row.phone, _read(row)) for row in connection.execute(rows)]


def all_opt_outs(engine: Engine, accounts: Collection[str] = ()) -> Iterator[list[tuple[str, OptedOut]]]:
    """Yield all opt-outs by number, a few thousand at a time, each portion in a transaction of its own.

    ``accounts``: see ``opt_outs_after``.
    """
    after = ""
    while True:
        with reading(engine) as connection:
            found = opt_outs_after(connection, after, PORTION, accounts)
        if not found:
            return
        yield found
        after = found[-1][0]


def newest_opt_outs(connection: Connection, limit: int) -> list[tuple[str, OptedOut]]:
    """Return the newest opt-outs with their numbers."""
    rows = connection.execute(select(opt_out).order_by(opt_out.c.since.desc(), opt_out.c.phone).limit(limit))
    return [(row.phone, _read(row)) for row in rows]


def _read(row: Row[Any]) -> OptedOut:
    return OptedOut(row.since, row.source, row.detail, row.account)


@dataclass(frozen=True, slots=True)
class Review:
    """A number whose owner may have asked not to be texted any more. ``excerpt``: what they wrote last."""

    phone: str
    since: datetime
    last_at: datetime
    """When the newest reply was noted. Who decides to continue names it: it says which replies they have read."""
    excerpt: str
    account: str = ""
    """To which account they wrote. Empty: to several, it is not known, or it came with a number that two share."""


def reviews_of(accounts: Collection[str]) -> ColumnElement[bool]:
    """Return the condition for reviews all of whose replies were written to some of these accounts.

    "" among them stands for reviews of no single account, whomever the person wrote to.
    """
    r, e, before = number_review.c, review_event.c, review_event.alias()
    ended = before.c.phone == r.phone, before.c.opened.is_(False)
    last_end = select(func.coalesce(func.max(before.c.id), 0)).where(*ended).correlate(number_review).scalar_subquery()
    reply = select(e.id).where(e.phone == r.phone, e.opened.is_(True), e.id > last_end).correlate(number_review)
    of_these = and_(r.account == "", exists(reply), ~exists(reply.where(e.account.not_in(accounts))))
    return or_(r.account.in_(accounts), of_these)


def open_reviews(
    connection: Connection, accounts: Collection[str] = (), phones: Collection[str] | None = None
) -> list[Review]:
    """Return the numbers that wait for a person's decision, oldest first.

    ``accounts``: see ``reviews_of``; empty: all.
    """
    r = number_review.c
    mine = [reviews_of(accounts)] if accounts else []
    these = [] if phones is None else [any_of(connection, r.phone, phones)]
    rows = connection.execute(select(number_review).where(*mine, *these).order_by(r.since, r.phone))
    return [Review(row.phone, row.since, row.last_at or row.since, row.excerpt, row.account) for row in rows]


def last_review_end(connection: Connection, phone: str) -> str | None:
    """Return how the last review of ``phone`` ended, as its proof says; None if it has had none, or one is open."""
    e = review_event.c
    newest = select(e.opened, e.detail).where(e.phone == phone).order_by(e.id.desc()).limit(1)
    last = connection.execute(newest).first()
    return None if last is None or last.opened else str(last.detail)


def open_review(
    connection: Connection,
    phone: str,
    *,
    excerpt: str,
    inbound_id: str | None,
    since: datetime,
    account: str = "",
    actor: str = "relay",
) -> None:
    """Hold all texts to ``phone`` until a person has read what its owner wrote.

    A review that is open already shows the newest reply from now on. ``account``: the account to which the owner wrote.
    A review with replies to several belongs to none of them.
    """
    row = {"phone": phone, "since": since, "inbound_id": inbound_id, "excerpt": excerpt, "account": account}
    _open_reviews(connection, [row], account=account, now=since, actor=actor)


class EndedReview(NamedTuple):
    """A review that ended: what the person had written to which account, and how many texts were released."""

    excerpt: str
    released: int
    account: str


def end_review(
    connection: Connection,
    phone: str,
    *,
    why: str,
    actor: str,
    now: datetime,
    only_of: Collection[str] = (),
    last_at: datetime | None = None,
) -> EndedReview | None:
    """End the review of ``phone`` and release its texts, for the policy to decide again. None: there was no such one.

    ``only_of``: see ``reviews_of``; empty: any review. ``last_at``: only if no reply was noted since this one; None: in
    any case.
    """
    this = [number_review.c.phone == phone, *([reviews_of(only_of)] if only_of else [])]
    if last_at is not None:
        # Equal, not later: the replies of a review that began in the meantime may be older than those that were shown.
        newest = func.coalesce(number_review.c.last_at, number_review.c.since)
        this.append(newest == last_at)
    ended = delete(number_review).where(*this).returning(number_review.c.excerpt, number_review.c.account)
    review = connection.execute(ended).first()
    if review is None:
        return None
    _prove_review_end(connection, phone, why, account=review.account, now=now, actor=actor)
    held, reason = message.c.to_number == phone, reason_text("reviewed", why)
    released = release_holds(connection, "review", held, reason=reason, actor=actor, now=now)
    return EndedReview(review.excerpt, released, review.account)


class NumberChange(NamedTuple):
    """A CRM record (``record``: "crm 17") whose number ``old`` was replaced by ``new``."""

    old: str
    new: str
    record: str


def follow_numbers(connection: Connection, changes: Collection[NumberChange], account: str, now: datetime) -> None:
    """Carry opt-outs and reviews along when CRM records of ``account`` get new numbers; the old numbers keep theirs.

    Somebody who opted out, or who may have, is not texted under a new number either. A page of changes takes two
    queries, and a few more where there is something to carry. ``changes`` are in the order in which they were made.
    """
    if not changes:
        return
    phones = {phone for change in changes for phone in (change.old, change.new)}
    carried = _carried_opt_outs(changes, opted_out(connection, phones), account)
    if carried:
        add_opt_outs(connection, carried, source=NUMBER_CHANGED, now=now, actor="sync", account=account)
    under_review = select(number_review).where(any_of(connection, number_review.c.phone, phones))
    reviews = _carried_reviews(changes, connection.execute(under_review), account)
    if reviews:
        _open_reviews(connection, reviews, account=account, now=now, actor="sync")


def _carried_opt_outs(
    changes: Collection[NumberChange], before: Mapping[str, OptedOut], account: str
) -> dict[str, NewOptOut]:
    """Return the numbers that must opt out, with the detail for a person. ``before``: those that have already.

    An opt-out that another account's people made does not become ``account``'s own with the new number.
    """
    owners = {phone: one.account for phone, one in before.items()}
    carried: dict[str, NewOptOut] = {}
    for change in changes:
        if change.old in owners and change.new not in owners:
            # Noted, because the record may change its number again within one page.
            owners[change.new] = account if owners[change.old] == account else ""
            detail = (
                f"follows the opt-out of {change.old}: the CRM record {change.record} has a new number;"
                f' `vtsync opt-in {change.new} --why "..."` lifts it'
            )
            carried[change.new] = NewOptOut(detail, owners[change.new])
    return carried


def _carried_reviews(
    changes: Collection[NumberChange], under_review: Iterable[Row[Any]], account: str
) -> list[dict[str, Any]]:
    """Return the rows of the reviews that follow. ``under_review``: the reviews that are open.

    A review of another account does not become ``account``'s own with the new number.
    """
    rows: dict[str, dict[str, Any]] = {row.phone: dict(row._mapping) for row in under_review}
    carried = []
    for change in changes:
        if change.old in rows and change.new not in rows:
            excerpt = f"{rows[change.old]['excerpt']} (written from {change.old}, {change.record}'s number before)"
            owner = account if rows[change.old]["account"] == account else ""
            rows[change.new] = rows[change.old] | {"phone": change.new, "excerpt": excerpt, "account": owner}
            carried.append({name: value for name, value in rows[change.new].items() if name != "last_at"})
    return sorted(carried, key=lambda row: str(row["phone"]))  # in one order, so that two transactions do not deadlock


def _open_reviews(
    connection: Connection, rows: Sequence[Mapping[str, Any]], *, account: str, now: datetime, actor: str
) -> None:
    """Open reviews, or note a further reply where one is open already. ``account``: of the event.

    A further reply is proven, too, and announced to nobody.
    """
    r = number_review.c
    put = insert(connection, number_review)
    newest = {
        "excerpt": put.excluded.excerpt,
        "inbound_id": put.excluded.inbound_id,
        "account": case((r.account == put.excluded.account, r.account), else_=""),
        "last_at": utcnow(),  # not when it was written: events may be late, and it must differ from what was shown
    }
    opened = put.on_conflict_do_update(index_elements=[r.phone], set_=newest).returning(r.phone, r.last_at)
    new = {phone for phone, last_at in connection.execute(opened, rows) if last_at is None}
    proofs = [
        {"phone": row["phone"], "at": now, "opened": True, "detail": row["excerpt"], "actor": actor[:80]}
        | {"account": row["account"]}
        for row in rows
    ]
    connection.execute(plain_insert(review_event), proofs)
    begun = {row["phone"]: {"detail": row["excerpt"]} for row in rows if row["phone"] in new}
    publish_each(connection, EventType.CONTACT_REVIEW_OPENED, account=account, now=now, data=begun)


def _prove_review_end(connection: Connection, phone: str, why: str, *, account: str, now: datetime, actor: str) -> None:
    """Store the proof of a review that ended, and publish its event."""
    row = {"phone": phone, "at": now, "opened": False, "detail": why, "actor": actor[:80]}
    connection.execute(plain_insert(review_event), row)
    data = {phone: {"detail": why}}
    publish_each(connection, EventType.CONTACT_REVIEW_ENDED, account=account, now=now, data=data)


def _date_back(
    connection: Connection, given: Mapping[str, NewOptOut], *, source: str, now: datetime, actor: str
) -> None:
    """Let the older time of each opt-out count."""
    dated = {phone: one.since for phone, one in given.items() if one.since is not None}
    known = opted_out(connection, dated)
    older = {phone: since for phone, since in dated.items() if phone in known and since < known[phone].since}
    if older:
        back = update(opt_out).where(opt_out.c.phone == bindparam("number")).values(since=bindparam("older"))
        connection.execute(back, [{"number": phone, "older": since} for phone, since in sorted(older.items())])
        connection.execute(
            plain_insert(opt_out_event),
            _proofs({phone: given[phone] for phone in older}, True, source=source, now=now, actor=actor),
        )


def _prove(
    connection: Connection,
    given: Mapping[str, NewOptOut],
    out: bool,
    *,
    source: str,
    now: datetime,
    actor: str,
    account: str,
) -> None:
    """Store the proof of each change and publish its event."""
    connection.execute(plain_insert(opt_out_event), _proofs(given, out, source=source, now=now, actor=actor))
    event = EventType.CONTACT_OPTED_OUT if out else EventType.CONTACT_OPTED_IN
    data = {phone: {"source": source, "detail": one.detail} for phone, one in given.items()}
    publish_each(connection, event, account=account, now=now, data=data)


def _proofs(
    given: Mapping[str, NewOptOut], out: bool, *, source: str, now: datetime, actor: str
) -> list[dict[str, Any]]:
    return [
        {
            "phone": phone,
            "at": one.since or now,
            "opted_out": out,
            "source": source,
            "detail": one.detail,
            "actor": actor[:80],
        }
        for phone, one in given.items()
    ]

"""What waits until a person decides or repairs something: how many, since when the oldest, and what to do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, or_, select

from config.alert_kinds import AlertKind
from config.models import Settings
from config.policy_levels import policy_for
from worker.contacts.linking import LINK_COMMAND, waiting_for_link
from worker.core.findings import Code, Finding, FindingCode, warning
from worker.core.states import DeliveryState, InboxState, MessageKind, MessageState, PushState
from worker.core.text import counted
from worker.deliveries.listing import receivers_of
from worker.messages.blast_guard import people_today
from worker.messages.opt_outs import reviews_of
from worker.messages.permission import missing_policy_fields, read_shape
from worker.messages.transitions import has_reason
from worker.messages.trigger_pause import PAUSED
from worker.messages.unread_records import unread_groups
from worker.store.tables import (
    connection_state,
    contact,
    dead_letter,
    delivery,
    inbox_event,
    message,
    number_review,
    rejected_record,
)

MANY_ATTEMPTS = 5
WAITING = "waiting for you"
UNTIL_YOU_ACT = "nothing happens with these until you act"


def unread_values(db: Connection, settings: Settings) -> list[Finding]:
    """Find records with a value that a trigger cannot read, so that it does not text about them."""
    return [
        warning(
            FindingCode.VALUES_UNREADABLE,
            WAITING,
            f"{counted(group.records, 'record')} of the connection {group.connection} with a value that the trigger "
            f"{group.trigger} cannot read: {_some(group.first, group.records)}",
            "the trigger does not text about such a record",
            "see which value it is; correct it in the CRM, or set default_region of the connection",
            command="vtsync status --unread",
            count=group.records,
        )
        for group in unread_groups(db, settings)
        if group.connection in settings.connections
    ]


def _some(ids: Sequence[str], count: int) -> str:
    more = f" and {count - len(ids)} more" if count > len(ids) else ""
    return f"{'records' if count > 1 else 'record'} {', '.join(ids)}{more}"


def missing_fields(db: Connection, settings: Settings) -> list[Finding]:
    """Find the connections whose source does not say any more who may be texted."""
    s = connection_state.c
    shapes = db.execute(select(s.connection, s.shape).where(s.connection.in_(settings.connections)))
    return [
        warning(
            FindingCode.FIELD_MISSING,
            WAITING,
            sentence,
            "who may be texted is not known, and people who asked for no texts must not get any",
            "put the field back, or correct the configuration",
            command=f"vtsync fields {row.connection}",
        )
        for row in shapes
        for sentence in missing_policy_fields(settings, row.connection, read_shape(row.shape))
    ]


def not_linked(db: Connection, account: str) -> list[Finding]:
    """Find contacts that wait until a person says how the account is linked."""
    waiting = waiting_for_link(db, account)
    if not waiting:
        return []
    return [
        warning(
            FindingCode.NOT_LINKED,
            WAITING,
            f"{counted(waiting, 'contact')} of the account {account} waiting for the first link-up, because"
            " VirtualText's contact list cannot be read; create all of them with"
            f" `{LINK_COMMAND} {account} --without-list`, or match them first with an export of VirtualText's contacts",
            "contacts that VirtualText has already would be created twice",
            f"run `{LINK_COMMAND} {account} --from FILE` or `{LINK_COMMAND} {account} --without-list`",
            command=f"{LINK_COMMAND} {account} --from FILE",
            count=waiting,
        )
    ]


def waiting_rows(
    db: Connection,
    accounts: Mapping[str, Mapping[str, int]],
    paused: Collection[str],
    settings: Settings,
    now: datetime,
    brief: bool,
    *,
    only: bool,
) -> list[Finding]:
    """Find what waits until a person decides or repairs something: how many, and since when the oldest.

    ``accounts``: how many contacts each has in each state. ``paused``: the triggers that are paused. ``only``: leave
    out what does not belong to ``accounts`` alone, such as messages of the broker.
    """
    names = list(accounts)

    def of(column: ColumnElement[str], values: Iterable[str]) -> list[ColumnElement[bool]]:
        return [column.in_(list(values))] if only else []

    m, c, held = message.c, contact.c, _held(db, *of(message.c.account, names))
    lost_at = func.coalesce(m.unanswered_at, m.created_at)
    mine = (m.account.in_(names), m.kind.in_(list(MessageKind)))  # the kind, too, as the index has it
    unknown = _some_of(db, lost_at, *mine, m.state == MessageState.UNKNOWN)

    def contacts(state: PushState, *where: ColumnElement[bool]) -> _Some:
        if not any(counts.get(state) for counts in accounts.values()):
            return _Some()
        return _some_of(db, c.attempted_at, c.account.in_(names), c.push_state == state, *where)

    failing = contacts(PushState.DUE, *KEEPS_FAILING)
    found = [
        *_approvals(db, held, settings, now, brief or only),
        *(
            _wait(
                AlertKind.APPROVAL_NEEDED,
                *(some, "text", f"held because the trigger {trigger} fires unusually often"),
                f"vtsync approve --trigger {trigger}",
            )
            for trigger, some in sorted(_by_trigger(held, "breaker").items())
        ),
        *(
            _wait(
                FindingCode.PAUSED if trigger in paused else AlertKind.APPROVAL_NEEDED,
                *(some, "text", f"held because the trigger {trigger} {'is' if trigger in paused else 'was'} paused"),
                f"vtsync {'resume trigger' if trigger in paused else 'approve --trigger'} {trigger}",
                why="they go when you approve them after the pause, or expire",
            )
            for trigger, some in sorted(_by_trigger(held, PAUSED).items())
        ),
        _wait(
            AlertKind.UNKNOWN_TEXTS,
            *(unknown, "text", "that may or may not have been sent", "vtsync messages --state unknown"),
        ),
        _wait(
            FindingCode.CREATES_UNKNOWN,
            *(contacts(PushState.UNKNOWN), "create", "without a response", "vtsync status --contacts unknown"),
            why="vtsync looks them up in VirtualText by itself; they need you only if they remain",
        ),
        _wait(
            FindingCode.UPDATES_FAIL,
            replace(failing, oldest=None),  # they are tried again and again, and only the last time is stored
            *("contact", "whose updates keep failing", "vtsync status --contacts due"),
            why="vtsync repeats them; a contact whose id VirtualText does not know any more is created again",
        ),
        _wait(
            FindingCode.CONTACTS_REFUSED,
            *(contacts(PushState.REJECTED), "contact", "refused by VirtualText", "vtsync status --contacts rejected"),
        ),
        _wait(
            FindingCode.RECORDS_REJECTED,
            _rejected(db, *of(rejected_record.c.connection, settings.connections)),
            "CRM record",
            "rejected",
            "vtsync status --rejected",
        ),
        _wait(
            AlertKind.REVIEW_NEEDED,
            _some_of(db, number_review.c.since, *([reviews_of(names)] if only else [])),
            *("reply", "that may mean STOP", "vtsync review"),
            many="replies",
        ),
        _wait(
            FindingCode.TIME_ZONE_UNKNOWN,
            *(_any_trigger(held, "time_zone"), "text", "held because the time zone is not known"),
            "vtsync messages --state held",
        ),
        _wait(
            FindingCode.PERMISSION_UNKNOWN,
            _any_trigger(held, "permission_unknown"),
            *("text", "held because it is not known if the person may be texted", "vtsync messages --state held"),
        ),
        _wait(
            FindingCode.EVENTS_FAILED,
            _some_of(
                db,
                inbox_event.c.received_at,
                inbox_event.c.state == InboxState.FAILED,
                *of(inbox_event.c.source, ["relay"]),
                *of(inbox_event.c.name, names),
            ),
            *("incoming event", "that could not be processed", "vtsync relay show"),
        ),
        _wait(
            AlertKind.DELIVERY_FAILED,
            _some_of(
                db,
                delivery.c.created_at,
                delivery.c.state == DeliveryState.FAILED,
                *of(delivery.c.receiver, receivers_of(settings, names)),
            ),
            *("failed delivery", "to CRMs and services", "vtsync forwards list --failed"),
            many="failed deliveries",
        ),
        _wait(
            FindingCode.DEAD_LETTERS,
            _Some() if only else _some_of(db, dead_letter.c.first_at),
            *("message", "of the broker refused", "vtsync dead-letters"),
            why="what their senders wanted was not done",
        ),
    ]
    return [one for one in found if one.count]


KEEPS_FAILING = (
    func.coalesce(contact.c.virtualtext_id, "") != "",  # not "is not null", which leads SQLite to another index
    or_(contact.c.missing_checks > 0, contact.c.attempts >= MANY_ATTEMPTS),
)
"""The conditions for due contacts whose updates fail again and again."""


@dataclass(frozen=True, slots=True)
class _Some:
    """How many rows wait, and since when the oldest of them does."""

    count: int = 0
    oldest: datetime | None = None

    def __add__(self, other: _Some) -> _Some:
        known = [at for at in (self.oldest, other.oldest) if at is not None]
        return _Some(self.count + other.count, min(known, default=None))


def _some_of(db: Connection, since: ColumnElement[Any], *where: ColumnElement[bool]) -> _Some:
    row = db.execute(select(func.count(), func.min(since)).where(*where)).one()
    return _Some(int(row[0]), row[1])


def _rejected(db: Connection, *where: ColumnElement[bool]) -> _Some:
    """Count the rejected records. The first that was stored, and still is, is the oldest."""
    r = rejected_record.c
    count = db.scalar(select(func.count()).select_from(rejected_record).where(*where)) or 0
    return _Some(count, db.scalar(select(r.since).where(*where).order_by(r.id).limit(1)) if count else None)


_HELD_FOR = ("approval", "breaker", PAUSED, "time_zone", "permission_unknown")


def _held(db: Connection, *where: ColumnElement[bool]) -> Mapping[tuple[str, str | None, str | None], _Some]:
    """Read the held texts once: how many by (code of the reason, batch, trigger)."""
    m = message.c
    code = case(*((has_reason(one), one) for one in _HELD_FOR), else_="")
    rows = db.execute(
        select(code, m.batch_id, m.trigger, func.count(), func.min(m.created_at))
        .where(m.state == MessageState.HELD, *where)
        .group_by(code, m.batch_id, m.trigger)
    )
    return {(row[0], row[1], row[2]): _Some(int(row[3]), row[4]) for row in rows}


def _by_trigger(held: Mapping[tuple[str, str | None, str | None], _Some], code: str) -> dict[str, _Some]:
    found: defaultdict[str, _Some] = defaultdict(_Some)
    for (held_for, _, trigger), some in held.items():
        if held_for == code:
            found[trigger or ""] += some
    return found


def _any_trigger(held: Mapping[tuple[str, str | None, str | None], _Some], code: str) -> _Some:
    return sum(_by_trigger(held, code).values(), _Some())


def _approvals(
    db: Connection,
    held: Mapping[tuple[str, str | None, str | None], _Some],
    settings: Settings,
    now: datetime,
    brief: bool,
) -> list[Finding]:
    """Find the texts of large syncs. An import that arrives in slices is one line, not one for each sync."""
    of_trigger: defaultdict[str, dict[str, _Some]] = defaultdict(dict)
    of_batch: defaultdict[str, _Some] = defaultdict(_Some)
    for (code, batch, trigger), some in held.items():
        if code == "approval":
            of_trigger[trigger or ""][batch or ""] = some
    sliced = sorted(trigger for trigger, batches in of_trigger.items() if trigger and len(batches) > 1)
    for trigger in of_trigger.keys() - set(sliced):
        for batch, some in of_trigger[trigger].items():
            of_batch[batch] += some
    return [
        *(
            _wait(
                AlertKind.APPROVAL_NEEDED,
                *(some, "text", "of one sync waiting for approval", f"vtsync approve {batch}"),
            )
            for batch, some in sorted(of_batch.items())
        ),
        *(
            _wait(
                AlertKind.APPROVAL_NEEDED,
                sum(of_trigger[trigger].values(), _Some()),
                "text",
                f"of the trigger {trigger} from {len(of_trigger[trigger])} syncs waiting for approval"
                f" ({'' if brief else _people_today(db, trigger, now)}{_blast_limit(settings, trigger)})",
                f"vtsync approve --trigger {trigger}",
            )
            for trigger in sliced
        ),
    ]


def _people_today(db: Connection, trigger: str, now: datetime) -> str:
    return f"{counted(people_today(db, trigger, now), 'person', 'people')} in 24 hours, "


def _blast_limit(settings: Settings, trigger: str) -> str:
    """Return the limit of a trigger and its name. Connections that it watches may have different ones."""
    watched = settings.triggers[trigger].connections if trigger in settings.triggers else (None,)
    policies = [policy_for(settings, connection=name, trigger=trigger) for name in watched]
    return " and ".join(dict.fromkeys(f"{one.setting('blast_limit')} is {one.blast_limit}" for one in policies))


def _wait(
    code: Code,
    some: _Some,
    one: str,
    state: str,
    command: str,
    *,
    many: str | None = None,
    why: str = UNTIL_YOU_ACT,
) -> Finding:
    """Return a finding about ``some`` things called ``one`` (plural ``many``, default: with an s) in a state."""
    found = f"{counted(some.count, one, many)} {state}"
    since = some.oldest if some.count else None
    return warning(code, WAITING, found, why, f"`{command}`", command=command, count=some.count, since=since)

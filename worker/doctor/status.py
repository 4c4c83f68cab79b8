"""The overview of `vtsync status`: connections, accounts, contacts, messages, and what waits for a person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, or_, select, type_coerce
from sqlalchemy.sql import Select

from config.alert_kinds import AlertKind
from config.models import Settings
from config.policy_levels import policy_for
from worker.broker.jobs import count_jobs
from worker.contacts.linking import LINK_COMMAND, waiting_for_link
from worker.core.findings import Code, Finding, FindingCode, Level, warning
from worker.core.states import DeliveryState, InboxState, MessageKind, MessageState, PauseKind, PushState
from worker.core.text import counted
from worker.deliveries.listing import receivers_of
from worker.doctor.accounts import judge_account_state, judge_contact_list, judge_test_mode, list_note
from worker.doctor.clocks import check_clocks
from worker.doctor.connections import ConnectionNow, check_connections, judge_connection_now, read_connections
from worker.doctor.encryption import pending_rewrite
from worker.doctor.pauses import judge_pause
from worker.messages.blast_guard import people_today
from worker.messages.opt_outs import reviews_of
from worker.messages.permission import missing_policy_fields, read_shape
from worker.messages.simulation import notes_on_test_mode
from worker.messages.transitions import has_reason
from worker.messages.trigger_pause import PAUSED
from worker.messages.unread_records import unread_groups
from worker.monitoring.state import AccountNow, read_account
from worker.runtime import Runtime
from worker.store.configuration import UnusedConfiguration, unused_files
from worker.store.db import reading
from worker.store.models import utcnow
from worker.store.pauses import Pause, all_pauses
from worker.store.tables import (
    connection_state,
    contact,
    dead_letter,
    delivery,
    inbox_event,
    message,
    number_review,
    rejected_record,
    sync_run,
)

MANY_ATTEMPTS = 5
WAITING = "waiting for you"
UNTIL_YOU_ACT = "nothing happens with these until you act"


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """A connection's last and next run."""

    name: str
    adapter: str
    schedule: str
    state: str
    started_at: datetime | None
    seen: int
    changed: int
    rejected_now: int
    next_run_at: datetime | None
    error: str
    note: str = ""
    """Why no run starts at the moment: it is paused or stopped, or waits."""
    budgets: Sequence[str] = ()
    account: str = ""
    pause: Pause | None = None


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """An account's contacts and messages by state. ``stopped`` is the reason, or empty if it is not stopped."""

    name: str
    contacts: dict[str, int]
    messages: dict[str, int]
    stopped: str
    paused_until: datetime | None
    pause_reason: str = ""
    contact_list: str = ""
    """Why VirtualText's contact list cannot be read, or empty."""
    mode: str = "live"


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that `vtsync status` shows. ``findings`` are also part of `vtsync doctor` and ``/health/fleet``."""

    connections: Sequence[ConnectionStatus]
    accounts: Sequence[AccountStatus]
    configuration: Sequence[UnusedConfiguration]
    test_mode: Sequence[str]
    """A sentence for each account in test mode."""
    findings: Sequence[Finding]
    paused_triggers: Mapping[str, Pause] = field(default_factory=dict)

    @property
    def attention(self) -> list[Finding]:
        """Return the findings that wait for a person and have a command to begin with."""
        return [one for one in self.findings if one.level is not Level.OK and one.command]

    def as_json(self) -> dict[str, Any]:
        """Return what `vtsync status --json` prints."""
        return {
            "connections": self.connections,
            "accounts": self.accounts,
            "test_mode": self.test_mode,
            "attention": [
                {
                    **{"what": attention_text(one), "count": one.count, "oldest": one.since, "command": one.command},
                    **{"code": one.code, "docs": one.docs},
                }
                for one in self.attention
            ],
            "configuration": self.configuration,
            "paused_triggers": self.paused_triggers,
        }


def attention_text(finding: Finding) -> str:
    """Describe in one line what waits for a person: ``3 texts of one sync waiting for approval``."""
    if finding.what == WAITING:
        return finding.found
    # Some findings continue the name of what they are about ("is stopped"); the others are sentences of their own.
    return f"{finding.what}{'' if finding.found.startswith(('is ', 'has ')) else ':'} {finding.found}"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A rejected CRM record."""

    connection: str
    key: str
    where: str
    reason: str
    excerpt: str
    since: datetime


def jobs_in_broker(settings: Settings) -> dict[str, Any]:
    """Return how many jobs are in the broker. None: it does not tell, or it cannot be used (``error``)."""
    try:
        jobs = count_jobs(settings)
    except Exception as error:  # noqa: BLE001 - clients of brokers raise errors of many kinds; the rest is shown
        found: dict[str, Any] = dict.fromkeys(("waiting", "in_progress", "left_behind"))
        return found | {"error": type(error).__name__}
    taken = jobs.taken._asdict() if jobs.taken else {"in_progress": None, "left_behind": None}
    return {"waiting": jobs.waiting, **taken, "error": ""}


def settings_of(settings: Settings, accounts: Collection[str]) -> Settings:
    """Return the settings with these accounts, their connections, and the triggers that watch these. Empty: all."""
    if not accounts:
        return settings
    connections = {name: one for name, one in settings.connections.items() if one.account in accounts}
    triggers = {name: one for name, one in settings.triggers.items() if connections.keys() & set(one.connections)}
    mine = {name: one for name, one in settings.accounts.items() if name in accounts}
    return settings.model_copy(update={"accounts": mine, "connections": connections, "triggers": triggers})


def overview(
    runtime: Runtime, *, count_rows: bool = False, brief: bool = False, accounts: Collection[str] = ()
) -> Overview:
    """Read the state of everything, in one consistent view.

    ``count_rows``: while content is stored in several ways, count its rows, which reads whole tables.
    ``brief``: leave out what takes long where there are millions of messages: how many each account has in each state,
    and how many people the triggers whose texts wait have texted today. ``accounts``: only what belongs to these, and
    nothing about the fleet, which all accounts share; empty: everything.
    """
    now, settings = utcnow(), settings_of(runtime.settings, accounts)
    with reading(runtime.engine) as db:
        connected = read_connections(db, settings, now)
        connections = [_connection(db, settings, state) for state in connected]
        states = {name: read_account(db, name, now) for name in settings.accounts}
        statuses = [
            replace(_account(db, name, state, now, brief), mode=settings.accounts[name].mode)
            for name, state in states.items()
        ]
        unused = [] if accounts else unused_files(db, now)
        missing = _missing_fields(db, settings)
        unread = _unread_values(db, settings)
        clocks = [] if accounts else list(check_clocks(db, now))
        rewrite = list(pending_rewrite(db)) if count_rows else []
        unlinked = [one for name in states for one in _unlinked(db, name)]
        # Credentials that nothing uses belong to no account.
        judged = (
            [finding for one in connected for finding in judge_connection_now(one, now)]
            if accounts
            else check_connections(db, settings, now, connected)
        )
        found = all_pauses(db, PauseKind.TRIGGER)
        paused = {name: found[name] for name in settings.triggers if name in found}
        waiting = [
            *judged,
            *(judge_pause(PauseKind.TRIGGER, name, one, now) for name, one in paused.items()),
            *unlinked,
            *_waiting(db, statuses, found, settings, now, brief, only=bool(accounts)),
        ]
    findings = [
        *judge_test_mode(settings),
        *(judge_account_state(name, state) for name, state in states.items()),
        *(one for name, state in states.items() for one in judge_contact_list(name, state.contact_list, now)),
        *map(judge_unused_configuration, unused),
        *missing,
        *unread,
        *clocks,
        *rewrite,
        *waiting,
    ]
    return Overview(connections, statuses, unused, notes_on_test_mode(settings), findings, paused)


def judge_unused_configuration(file: UnusedConfiguration) -> Finding:
    """Describe a changed configuration file that the running processes cannot use."""
    return warning(
        FindingCode.CONFIGURATION_MISTAKE,
        "configuration",
        f"{file.place} was changed and cannot be used: {' '.join(file.problem.split())}",
        "running processes keep the configuration that they had; new ones do not start",
        "correct the file; `vtsync check` lists every mistake",
    )


def _unread_values(db: Connection, settings: Settings) -> list[Finding]:
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


def _missing_fields(db: Connection, settings: Settings) -> list[Finding]:
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


def rejected_records(runtime: Runtime, connections: Sequence[str], limit: int) -> list[Rejected]:
    """Return the rejected records of these connections, oldest first."""
    r = rejected_record.c
    with reading(runtime.engine) as db:
        rows = db.execute(
            select(r.connection, r.key, r.where, r.reason, r.excerpt, r.since)
            .where(r.connection.in_(connections))
            .order_by(r.since, r.id)
            .limit(limit)
        )
        return [Rejected(*row) for row in rows]


def rejected_by_code(db: Connection, connection: str) -> dict[str, int]:
    """Count the rejected records of a connection by what is wrong with them, the most frequent first."""
    r = rejected_record.c
    found = db.execute(select(r.code, func.count()).where(r.connection == connection).group_by(r.code)).all()
    return {str(code): int(count) for code, count in sorted(found, key=lambda row: (-row[1], row[0]))}


def _connection(db: Connection, settings: Settings, state: ConnectionNow) -> ConnectionStatus:
    name = state.name
    configured = settings.connections[name]
    run = db.execute(
        select(sync_run).where(sync_run.c.connection == name).order_by(sync_run.c.id.desc()).limit(1)
    ).first()
    next_run_at = db.scalar(select(connection_state.c.next_run_at).where(connection_state.c.connection == name))
    rejected = db.scalar(select(func.count()).where(rejected_record.c.connection == name)) or 0
    schedule = configured.schedule or "by hand"
    if not configured.enabled:
        schedule = "disabled"
    return ConnectionStatus(
        name,
        configured.adapter,
        schedule,
        "never run" if run is None else run.state,
        None if run is None else run.started_at,
        0 if run is None else run.seen,
        0 if run is None else run.added + run.changed + run.removed,
        rejected,
        next_run_at,
        "" if run is None else run.error,
        state.note,
        [budget.text for budget in state.budgets],
        configured.account,
        state.pause,
    )


def _unlinked(db: Connection, account: str) -> list[Finding]:
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


def connection_statuses(runtime: Runtime, accounts: Collection[str] = ()) -> list[ConnectionStatus]:
    """Read the state of the connections alone. ``accounts``: only of these; empty: of all."""
    settings = settings_of(runtime.settings, accounts)
    with reading(runtime.engine) as db:
        return [_connection(db, settings, state) for state in read_connections(db, settings, utcnow())]


def _account(db: Connection, name: str, state: AccountNow, now: datetime, brief: bool) -> AccountStatus:
    contacts = _grouped(
        db, select(contact.c.push_state, func.count()).where(contact.c.account == name).group_by(contact.c.push_state)
    )
    by_state = select(message.c.state, func.count()).where(message.c.account == name).group_by(message.c.state)
    messages = {} if brief else _grouped(db, by_state)
    stopped = state.reason if state.stopped else ""
    note = list_note(state.contact_list, now)
    return AccountStatus(name, contacts, messages, stopped, state.paused_until, state.pause_reason, note)


def _grouped(db: Connection, statement: Select[Any]) -> dict[str, int]:
    return {str(row[0]): int(row[1]) for row in db.execute(statement)}


def _waiting(
    db: Connection,
    accounts: Sequence[AccountStatus],
    paused: Collection[str],
    settings: Settings,
    now: datetime,
    brief: bool,
    *,
    only: bool,
) -> list[Finding]:
    """Find what waits until a person decides or repairs something: how many, and since when the oldest.

    ``paused``: the triggers that are paused. ``only``: leave out what does not belong to ``accounts`` alone, such as
    messages of the broker.
    """
    names = [account.name for account in accounts]

    def of(column: ColumnElement[str], values: Iterable[str]) -> list[ColumnElement[bool]]:
        return [column.in_(list(values))] if only else []

    m, c, held = message.c, contact.c, _held(db, *of(message.c.account, names))
    lost_at = func.coalesce(m.unanswered_at, m.created_at)
    mine = (m.account.in_(names), m.kind.in_(list(MessageKind)))  # the kind, too, as the index has it
    unknown = _some_of(db, lost_at, *mine, m.state == MessageState.UNKNOWN)

    def contacts(state: PushState, *where: ColumnElement[bool]) -> _Some:
        if not any(account.contacts.get(state) for account in accounts):
            return _Some()
        return _some_of(db, c.attempted_at, c.account.in_(names), c.push_state == state, *where)

    failing = contacts(PushState.DUE, *_KEEPS_FAILING)
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


_KEEPS_FAILING = (
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


@dataclass(frozen=True, slots=True)
class StuckContact:
    """A contact that is not in sync with VirtualText, and the reason."""

    account: str
    phone: str
    full_name: str
    state: str
    error: str
    attempts: int
    attempted_at: datetime | None
    next_attempt_at: datetime | None
    """When it is tried again. None: a change, a look-up or a person must come first."""
    id: int


def contacts_in(
    runtime: Runtime,
    state: str,
    limit: int,
    *,
    failing: bool = False,
    accounts: Collection[str] = (),
    after: int = 0,
) -> list[StuckContact]:
    """Return the contacts in one push state, in the order of their ids.

    ``failing``: only those whose updates fail again and again. ``accounts``: only of these; empty: of all that are
    configured. ``after``: only those with a larger id.
    """
    c = contact.c
    next_attempt_at = case((c.push_state == PushState.DUE, c.next_attempt_at), else_=None)
    columns = (c.account, c.phone, c.full_name, c.push_state, c.last_error, c.attempts, c.attempted_at)
    with reading(runtime.engine) as db:
        rows = db.execute(
            select(*columns, type_coerce(next_attempt_at, c.next_attempt_at.type), c.id)
            .where(c.account.in_(list(accounts or runtime.settings.accounts)), c.push_state == state, c.id > after)
            .where(*(_KEEPS_FAILING if failing else ()))
            .order_by(c.id)
            .limit(limit)
        )
        return [StuckContact(*row) for row in rows]

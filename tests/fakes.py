"""Stand-ins for both sides of a sync: a VirtualText that remembers what really happened, a CRM that is a list."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from config.fields import FieldMapping
from crm_adapters.base import (
    Adapter,
    CheckReport,
    ContactChange,
    ContactFields,
    CredentialsRejected,
    CrmField,
    Cursor,
    CursorExpired,
    ListsIds,
    Page,
    Properties,
    Removals,
    Services,
    UnreadableRecord,
)
from worker.contacts.mapping import field_names_of
from worker.virtualtext.outcomes import Cause, ContactBody, MessageBody, Outcome, Receipt, RemoteContact, Status

Fault = Callable[[], "Outcome[Any] | None"]


def done(value: Any) -> Outcome[Any]:
    return Outcome(Status.DONE, value, http_status=200)


def not_done(cause: Cause, status: int | None = None, **more: Any) -> Outcome[Any]:
    return Outcome(Status.NOT_DONE, cause=cause, detail=str(cause), http_status=status, **more)


def unknown(cause: Cause, status: int | None = None) -> Outcome[Any]:
    return Outcome(Status.UNKNOWN, cause=cause, detail=str(cause), http_status=status)


@dataclass
class FakeVirtualText:
    """The client's interface over a dict. ``script`` holds, per call name, outcomes to give instead of the truth:
    (applied, outcome) - whether the write happened, and what the caller is told.
    """

    contacts: dict[str, RemoteContact] = field(default_factory=dict)
    sent: list[MessageBody] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    bodies: list[tuple[str, ContactBody]] = field(default_factory=list)
    script: dict[str, deque[tuple[bool, Outcome[Any]]]] = field(default_factory=dict)
    list_unavailable: bool = False

    def __post_init__(self) -> None:
        self._lock, self._made = threading.Lock(), len(self.contacts)

    def fault(self, call: str, outcome: Outcome[Any], *, applied: bool = False, times: int = 1) -> None:
        self.script.setdefault(call, deque()).extend([(applied, outcome)] * times)

    def phones(self) -> Counter[str]:
        return Counter(contact.phone for contact in self.contacts.values())

    def by_phone(self, phone: str) -> RemoteContact:
        (found,) = [contact for contact in self.contacts.values() if contact.phone == phone]
        return found

    def create_contact(self, body: ContactBody) -> Outcome[RemoteContact]:
        def write() -> RemoteContact:
            self._made += 1
            contact = RemoteContact(f"vt{self._made}", body.phone, body.full_name, body.email)
            self.contacts[contact.id] = contact
            return contact

        return self._call("create", write, body)

    def update_contact(self, virtualtext_id: str, body: ContactBody) -> Outcome[RemoteContact]:
        if virtualtext_id not in self.contacts:
            self.calls["update"] += 1
            return unknown(Cause.GATEWAY, 502)

        def write() -> RemoteContact:
            contact = RemoteContact(virtualtext_id, body.phone, body.full_name, body.email)
            self.contacts[virtualtext_id] = contact
            return contact

        return self._call("update", write, body)

    def get_contact(self, virtualtext_id: str) -> Outcome[RemoteContact]:
        self.calls["get"] += 1
        found = self.contacts.get(virtualtext_id)
        return done(found) if found else unknown(Cause.GATEWAY, 502)

    def list_contacts(self) -> Outcome[list[RemoteContact]]:
        if self.list_unavailable:
            self.calls["list"] += 1
            return unknown(Cause.TIMEOUT, 408)
        return self._call("list", lambda: list(self.contacts.values()))

    def health(self) -> Outcome[str]:
        return done("pass")

    def send_message(self, body: MessageBody) -> Outcome[Receipt]:
        def write() -> Receipt:
            self.sent.append(body)
            return Receipt()

        return self._call("send", write)

    def _call(self, name: str, write: Callable[[], Any], body: ContactBody | None = None) -> Outcome[Any]:
        with self._lock:
            self.calls[name] += 1
            if body is not None:
                self.bodies.append((name, body))
            scripted = self.script.get(name)
            if not scripted:
                return done(write())
            applied, outcome = scripted.popleft()
            if applied:
                write()
            return outcome


@dataclass
class ListSource:
    """A CRM: records by id in order, and what is wrong with it just now."""

    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    unreadable: list[UnreadableRecord] = field(default_factory=list)
    extra: list[ContactChange] = field(default_factory=list)
    removals: Removals = Removals.ABSENT
    page_size: int = 3
    resumes: bool = False
    """Whether its pages have cursors."""
    error_after: int | None = None
    error: Exception | None = None

    def put(self, external_id: str, phone: str = "", name: str = "", email: str = "", **more: Any) -> None:
        self.records[external_id] = {"phone": phone, "name": name, "email": email, **more}


class NoOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ListAdapter(Adapter):
    """Reads a ListSource, whole, a page at a time."""

    name = "list"
    summary = "a list in memory"
    Options: ClassVar[type[BaseModel]] = NoOptions

    def __init__(self, source: ListSource) -> None:
        super().__init__(NoOptions(), FieldMapping())
        self.source = source
        self.removals = source.removals  # type: ignore[misc]

    def check(self) -> CheckReport:
        return CheckReport(f"{len(self.source.records)} records")

    def describe(self) -> Sequence[CrmField]:
        names = dict.fromkeys(name for properties in self.source.records.values() for name in properties)
        return [CrmField(name) for name in names]

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        after = cursor["after"] if cursor else 0
        changes: list[ContactChange | UnreadableRecord] = [
            ContactChange(external_id, properties, where=f"record {external_id}")
            for external_id, properties in self.source.records.items()
        ]
        changes += self.source.unreadable
        changes += self.source.extra
        for number, start in enumerate(range(after, len(changes), self.source.page_size)):
            if self.source.error is not None and number == self.source.error_after:
                raise self.source.error
            end = start + self.source.page_size
            yield Page(changes[start:end], {"after": end} if self.source.resumes else None)
        if self.source.error is not None and self.source.error_after is None:
            raise self.source.error

    def contact_fields(self, properties: Properties) -> ContactFields:
        phone = str(properties.get("phone") or "")
        return ContactFields(
            (("phone", phone),) if phone else (), str(properties.get("name") or ""), str(properties.get("email") or "")
        )


@dataclass
class LogSource:
    """A CRM that reports changes in the order in which they were made."""

    log: list[ContactChange | None] = field(default_factory=list)
    """A change without a record is one that nobody can read any more."""
    removals: Removals = Removals.UNSEEN
    lists_ids: bool = False
    kinds: tuple[str, ...] = ("contact", "deal")
    """The kinds of record that it gives out."""
    page_size: int = 2
    reads: list[str] = field(default_factory=list)
    """What was asked for: "all", "changes" or "ids"."""
    error: Exception | None = None
    error_after: int = 0
    """Raise ``error`` after this many pages."""
    checks: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    """What the CRM calls its fields."""
    fails_to_describe: Exception | None = None

    def put(self, external_id: str, phone: str = "", name: str = "", **more: Any) -> None:
        self.log.append(ContactChange(external_id, {"phone": phone, "name": name, **more}))

    def put_deal(self, external_id: str, person: str | None, **properties: Any) -> None:
        self.log.append(ContactChange(external_id, properties, kind="deal", person=person))

    def report_deleted(self, external_id: str, merged_into: str | None = None) -> None:
        self.log.append(ContactChange(external_id, {}, deleted=True, merged_into=merged_into))

    def vanish(self, external_id: str) -> None:
        """Delete a record without a word."""
        self.log = [None if one is None or one.external_id == external_id else one for one in self.log]

    @property
    def live(self) -> dict[str, ContactChange]:
        last = {change.external_id: change for change in self.log if change is not None}
        return {key: one for key, one in last.items() if not one.deleted and one.kind in self.kinds}


class LogAdapter(Adapter):
    """Reads a LogSource: everything once, then changes."""

    name = "log"
    summary = "a log in memory"
    Options: ClassVar[type[BaseModel]] = NoOptions

    def __init__(self, source: LogSource) -> None:
        super().__init__(NoOptions(), FieldMapping())
        self.source = source
        self.kinds = source.kinds  # type: ignore[misc]
        self.removals = source.removals  # type: ignore[misc]

    def check(self) -> CheckReport:
        self.source.checks += 1
        if isinstance(self.source.error, CredentialsRejected):
            raise self.source.error
        return CheckReport(f"{len(self.source.live)} records")

    def describe(self) -> Sequence[CrmField]:
        if self.source.fails_to_describe is not None:
            raise self.source.fails_to_describe
        names = dict.fromkeys((name, change.kind) for change in self.source.live.values() for name in change.properties)
        return [CrmField(name, self.source.labels.get(name, ""), kind=kind) for name, kind in names]

    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        source = self.source
        source.reads.append("all" if cursor is None or "listed" in cursor else "changes")
        if cursor is not None and isinstance(source.error, CursorExpired):
            error, source.error = source.error, None
            raise error
        if cursor is None or "listed" in cursor:
            start, changes = (cursor or {"listed": 0})["listed"], [*source.live.values()]
            cursors = [{"listed": n} for n in range(len(changes))] + [{"after": len(source.log)}]
        else:
            start, changes = cursor["after"], [*source.log]
            cursors = [{"after": n} for n in range(len(changes) + 1)]
        for number, first in enumerate(range(start, max(len(changes), start + 1), source.page_size)):
            if source.error is not None and number == source.error_after:
                raise source.error
            last = min(first + source.page_size, len(changes))
            shown = [one for one in changes[first:last] if one is not None and one.kind in source.kinds]
            yield Page(shown, cursors[last])


class IdListingAdapter(LogAdapter, ListsIds):
    """A LogAdapter that can list the ids of all records."""

    def live_ids(self) -> Iterator[Sequence[str]]:
        self.source.reads.append("ids")
        ids = list(self.source.live)
        for first in range(0, len(ids), 3):
            yield ids[first : first + 3]


def sources(**by_connection: ListSource | LogSource) -> Callable[..., Adapter]:
    """A replacement for ``build_adapter``."""

    def build(settings: Any, name: str, services: Services | None = None) -> Adapter:
        source = by_connection[name]
        adapter: Adapter = ListAdapter(source) if isinstance(source, ListSource) else log_adapter(source)
        adapter.fields = field_names_of(settings.connections[name].fields)
        adapter.services = services or adapter.services
        return adapter

    return build


def log_adapter(source: LogSource) -> LogAdapter:
    """An adapter for a LogSource, which may list ids."""
    return IdListingAdapter(source) if source.lists_ids else LogAdapter(source)


def numbers(count: int, start: int = 0) -> Sequence[str]:
    """Valid US numbers, all different."""
    return [f"+1415555{number:04d}" for number in range(start, start + count)]

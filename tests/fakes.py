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
    Cursor,
    Page,
    Properties,
    Removals,
    UnreadableRecord,
)
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
        self._lock = threading.Lock()

    def fault(self, call: str, outcome: Outcome[Any], *, applied: bool = False, times: int = 1) -> None:
        self.script.setdefault(call, deque()).extend([(applied, outcome)] * times)

    def phones(self) -> Counter[str]:
        return Counter(contact.phone for contact in self.contacts.values())

    def by_phone(self, phone: str) -> RemoteContact:
        (found,) = [contact for contact in self.contacts.values() if contact.phone == phone]
        return found

    def create_contact(self, body: ContactBody) -> Outcome[RemoteContact]:
        def write() -> RemoteContact:
            contact = RemoteContact(f"vt{len(self.contacts) + 1}", body.phone, body.full_name, body.email)
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


def sources(**by_connection: ListSource) -> Callable[[Any, str], Adapter]:
    """A replacement for ``build_adapter``."""
    return lambda _settings, name: ListAdapter(by_connection[name])


def numbers(count: int, start: int = 0) -> Sequence[str]:
    """Valid US numbers, all different."""
    return [f"+1415555{number:04d}" for number in range(start, start + count)]

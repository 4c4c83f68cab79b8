"""What an adapter is. Read this first.

Terms used here and in the rest of the code:

* **record**: one person in the CRM, or something that belongs to a person, such as a deal or an appointment. It is
  named by its *external id*, an identifier that the CRM never reuses and that no other record of the connection has.
* **properties**: the record as the CRM gave it, a flat mapping of field name to a scalar JSON value. It names every
  field that the source has: an empty field is None or ``""``. **A field that is not there is unknown, not empty**: the
  source does not have it (any more). The engine hashes properties to skip unchanged records, stores those that the
  configuration uses, and compares two versions for triggers.
* **reference**: a field that points to another record. Its value is the label that people see; the id goes to a field
  of its own, ``NAME_id``.
* **change**: one record that may have changed. Sending an unchanged record again is harmless and cheap.
* **page**: some changes and the cursor that resumes *after* them. The engine commits the cursor with them, or later.
* **cursor**: where to continue, a JSON mapping that only its adapter understands.
* **listing**: a run from the top, ``pull(None)``. If it ends without an error, it has listed every live record, and the
  engine treats the records that it did not list as deleted. This holds for every adapter.

An adapter reads one CRM and knows nothing about VirtualText, queues or our database. It never retries for
long and never hides an error: it raises one of the errors below, whose class says what the caller should do.

    AdapterError
    |-- CredentialsRejected   a person must fix the credential; do not try again automatically
    |-- SourceUnavailable     the CRM is down or busy; try again later (after ``retry_after`` seconds, if given)
    |-- CursorExpired         the CRM no longer accepts the cursor; the engine starts from the top
    |-- RecordGone            the record to be written does not exist (any more); others are not affected
    |-- SourceIncomplete      the source is not complete (a half-written export): do not use it
    `-- SourceInvalid         the source is not what the options say (no such column, table, file)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, TypeAlias

from pydantic import BaseModel

from config.fields import FieldMapping
from crm_adapters.errors import (
    AdapterError,
    CredentialsRejected,
    CursorExpired,
    RecordGone,
    SourceIncomplete,
    SourceInvalid,
    SourceUnavailable,
)
from crm_adapters.fields import ColumnFinder, ContactFields, Properties, read
from crm_adapters.services import Limit, LocalServices, Services

__all__ = [
    "CONTACT",
    "Adapter",
    "AdapterError",
    "ApiVersion",
    "CheckReport",
    "ContactChange",
    "ContactFields",
    "CredentialsRejected",
    "CrmField",
    "CrmMessage",
    "Cursor",
    "CursorExpired",
    "Limit",
    "ListsIds",
    "Page",
    "Properties",
    "RecordGone",
    "Removals",
    "Services",
    "SourceIncomplete",
    "SourceInvalid",
    "SourceUnavailable",
    "UnreadableRecord",
    "WakesOnEvents",
    "WritesMessages",
]

Cursor: TypeAlias = Mapping[str, Any]


class Removals(StrEnum):
    """How the engine learns between two listings that a record is gone."""

    REPORTED = "reported"
    """Pages carry changes with ``deleted=True``."""
    ABSENT = "absent"
    """Every pull is a listing: the adapter cannot read changes alone."""
    UNSEEN = "unseen"
    """The CRM does not report it. The engine compares the ids (``ListsIds``), or reads everything, once in
    ``reconcile``."""


CONTACT = "contact"
"""The kind of a record that is a person."""


class ContactChange(NamedTuple):
    """One record as the CRM has it now. A named tuple for speed: a sync may create a million of them.

    ``updated_at`` is timezone-aware, or None where the CRM does not say. ``where`` tells a person where to look
    ("contacts.csv line 17"). ``merged_into`` is the surviving record's external id when this one was merged away
    (such a change is also ``deleted``).

    ``kind`` says what the record is: a person (``contact``), or something that belongs to one, such as a ``deal``.
    ``person`` is then the external id of that person's record; None if it belongs to nobody (yet). Such a record has
    the phone, name and email of its person, and triggers fire for each one.
    """

    external_id: str
    properties: Properties
    updated_at: datetime | None = None
    deleted: bool = False
    merged_into: str | None = None
    where: str = ""
    kind: str = CONTACT
    person: str | None = None


@dataclass(frozen=True, slots=True)
class UnreadableRecord:
    """A record that could not be read. It is stored as rejected under ``key`` until that key is read successfully.

    ``key`` is the external id if there is one, else something stable that names its position. ``reason`` is a full
    sentence for a person. ``excerpt`` is at most 200 printable characters of what was there.
    """

    key: str
    reason: str
    where: str
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Some changes, in order, and the cursor that resumes after them (None: the pull cannot resume, it restarts)."""

    changes: Sequence[ContactChange | UnreadableRecord]
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The result of ``check`` for a person: one line."""

    summary: str


@dataclass(frozen=True, slots=True)
class CrmField:
    """A field that the source has. ``name`` is its key in properties, ``label`` what the CRM shows to people.

    ``type`` is ``text``, ``number``, ``boolean``, ``date``, ``datetime``, ``choice``, ``reference``, ``phone``,
    ``email`` or "" if it is not known. ``values`` are the choices, or some values as examples. ``kind`` is the kind of
    record that has the field.
    """

    name: str
    label: str = ""
    type: str = ""
    values: tuple[str, ...] = ()
    kind: str = CONTACT


@dataclass(frozen=True, slots=True)
class ApiVersion:
    """The version of the vendor's API that an adapter calls, and the day after which the vendor may switch it off."""

    name: str
    ends: date | None = None


class Adapter(ABC):
    """One CRM connection. Built once per run, used by one thread, closed at the end.

    Subclasses declare ``name`` (used in the configuration), ``summary`` (one line for ``vtsync adapters``),
    ``Options`` (a pydantic model with ``extra="forbid"``; its field descriptions are the documentation) and
    ``removals``. ``page_size`` is the largest number of changes in a page. ``usual`` names the CRM's own fields for
    phone, name and email; what it leaves out is found by usual names. ``kinds`` are the kinds of record that it may
    read. ``limits`` are the rates and budgets of the CRM's API; see ``Services.pace``, and ``limits_for`` if
    they depend on the options. ``api_version`` lets
    `vtsync doctor` warn before the vendor switches it off.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    Options: ClassVar[type[BaseModel]]
    removals: ClassVar[Removals] = Removals.REPORTED
    page_size: ClassVar[int] = 1000
    usual: ClassVar[FieldMapping] = FieldMapping()
    kinds: ClassVar[tuple[str, ...]] = (CONTACT,)
    limits: ClassVar[tuple[Limit, ...]] = ()
    api_version: ClassVar[ApiVersion | None] = None

    def __init__(self, options: Any, fields: FieldMapping, *, services: Services | None = None) -> None:
        self.options = options
        self.fields = fields
        self.services: Services = services or LocalServices(tuple(self.limits_for(options)))

    @classmethod
    def limits_for(cls, options: Any) -> Sequence[Limit]:  # noqa: ARG003 - of some adapters they depend on them
        """Return the limits of a connection with these options."""
        return cls.limits

    @classmethod
    def kinds_for(cls, options: Mapping[str, Any]) -> tuple[str, ...]:  # noqa: ARG003 - of some they depend on them
        """Return the kinds of record of a connection with these options, as they are written in the file."""
        return cls.kinds

    @abstractmethod
    def check(self) -> CheckReport:
        """Try the credential and the source, and read as little as possible. Raises AdapterError."""

    @abstractmethod
    def describe(self) -> Sequence[CrmField]:
        """Return the fields that records have now. The engine compares the configuration with them.

        Raises AdapterError.
        """

    @abstractmethod
    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield pages of all changes after ``cursor`` (None: every record). End without an error only when complete.

        Raises AdapterError. Memory must not grow with the number of records. Changes may repeat; none may be
        missed: cursors overlap where the CRM's own order has ties or late commits.
        """

    def contact_fields(self, properties: Properties) -> ContactFields:
        """Read phone candidates, name and email from a record's properties.

        By the mapping, by ``usual``, or else by usual names. Called only for changed records. Never raises on strange
        values: missing or odd ones become empty.
        """
        return read(self._columns.of(properties), properties)

    @cached_property
    def _columns(self) -> ColumnFinder:
        return ColumnFinder(self.fields.or_else(self.usual))

    def link(self, external_id: str) -> str:  # noqa: ARG002 - most sources have no page for a record
        """Return the address at which a person finds this record in the CRM, or "". Makes no request."""
        return ""

    def close(self) -> None:  # noqa: B027 - most adapters hold nothing
        """Release files and connections. Called once, also after an error."""


@dataclass(frozen=True, slots=True)
class CrmMessage:
    """One text for a record's history. ``id`` is ours and unique; ``direction`` is "in" or "out"."""

    id: str
    direction: str
    at: datetime
    text: str
    media: tuple[str, ...]
    from_number: str
    to_number: str


class WritesMessages(ABC):
    """An adapter that can also write texts and opt-outs to its CRM: ``class Acme(Adapter, WritesMessages)``.

    Both methods may be called again with the same arguments, because a response can be lost: each text must be logged
    once, recognised by its ``id``. Both may raise any AdapterError. The call is repeated later, except after
    RecordGone, CredentialsRejected and SourceInvalid, which wait for a person.
    """

    @abstractmethod
    def log_message(self, external_id: str, message: CrmMessage) -> None:
        """Add a text to the record's history, once."""

    @abstractmethod
    def set_do_not_text(self, external_id: str, field: str, value: bool) -> None:
        """Write to the record's ``field`` if this person must not be texted. Reading it must then give ``value``."""


class ListsIds(ABC):
    """An adapter that can list the ids of all live records with far less work than a listing of the records."""

    @abstractmethod
    def live_ids(self) -> Iterator[Sequence[str]]:
        """Yield the external ids of all live records, in any order. End without an error only when complete.

        The engine calls it once in ``reconcile`` and removes the records whose ids are missing. Raises AdapterError.
        """


class WakesOnEvents(ABC):
    """An adapter whose CRM can call ``POST /crm/CONNECTION/SECRET`` when something changes."""

    @abstractmethod
    def wakes(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Return True if the request really comes from the CRM. The sync is then due at once; nothing is read from it.

        ``headers`` have names in lower case; ``:method`` and ``:url`` are what was called, because some CRMs sign it.
        Makes no request. Never raises.
        """

"""What an adapter is. Read this first.

Terms used here and in the rest of the code:

* **record**: one person in the CRM, named by its *external id*, an identifier that the CRM never reuses.
* **properties**: the record as the CRM gave it, a flat mapping of column or field name to a JSON value. It is
  stored unchanged: the engine hashes it to skip unchanged records and compares two versions of it for triggers.
* **change**: one record that may have changed. Sending an unchanged record again is harmless and cheap.
* **page**: some changes and the cursor that resumes *after* them. The engine commits both together.
* **cursor**: where to continue, a JSON mapping that only its adapter understands.

An adapter reads one CRM and knows nothing about VirtualText, queues or our database. It never retries for
long and never hides an error: it raises one of the errors below, whose class says what the caller should do.

    AdapterError
    |-- CredentialsRejected   a person must fix the credential; do not try again automatically
    |-- SourceUnavailable     the CRM is down or busy; try again later (after ``retry_after`` seconds, if given)
    |-- RecordGone            the record to be written does not exist (any more); others are not affected
    |-- SourceIncomplete      the source is not complete (a half-written export): do not use it
    `-- SourceInvalid         the source is not what the options say (no such column, table, file)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple, TypeAlias

from pydantic import BaseModel

from config.fields import FieldMapping

Cursor: TypeAlias = Mapping[str, Any]
Properties: TypeAlias = Mapping[str, Any]


class AdapterError(Exception):
    """A problem on the CRM's side. The text tells the operator what happened, where, and what to do now."""


class CredentialsRejected(AdapterError):
    """The CRM refused the credential. Trying again changes nothing."""


class SourceUnavailable(AdapterError):
    """The CRM cannot be reached or asks to wait. Try again after ``retry_after`` seconds (None: not said)."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RecordGone(AdapterError):
    """The CRM has no record with this external id, so nothing was written."""


class SourceIncomplete(AdapterError):
    """The source exists but is not complete. The run stops, and no record is treated as deleted."""


class SourceInvalid(AdapterError):
    """The source does not have what the options name. A person must change one or the other."""


class Removals(StrEnum):
    """How the engine learns that a record is gone."""

    REPORTED = "reported"
    """Pages carry changes with ``deleted=True``."""
    ABSENT = "absent"
    """Every pull lists every record; one that a *complete* pull did not list is gone."""
    UNSEEN = "unseen"
    """The CRM does not report it."""


class ContactChange(NamedTuple):
    """One record as the CRM has it now. A named tuple for speed: a sync may create a million of them.

    ``updated_at`` is timezone-aware, or None where the CRM does not say. ``where`` tells a person where to look
    ("contacts.csv line 17"). ``merged_into`` is the surviving record's external id when this one was merged away
    (such a change is also ``deleted``).
    """

    external_id: str
    properties: Properties
    updated_at: datetime | None = None
    deleted: bool = False
    merged_into: str | None = None
    where: str = ""


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


class ContactFields(NamedTuple):
    """The contact fields of a record, as raw text: nothing is normalised.

    ``phones`` are the candidates in order of preference, as (field name, text); empty ones are left out.
    """

    phones: tuple[tuple[str, str], ...] = ()
    full_name: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The result of ``check`` for a person: one line, and sample field names to help with the mapping."""

    summary: str
    fields: tuple[str, ...] = field(default=())


class Adapter(ABC):
    """One CRM connection. Built once per run, used by one thread, closed at the end.

    Subclasses declare ``name`` (used in the configuration), ``summary`` (one line for ``vtsync adapters``),
    ``Options`` (a pydantic model with ``extra="forbid"``; its field descriptions are the documentation) and
    ``removals``. ``page_size`` is the largest number of changes in a page.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    Options: ClassVar[type[BaseModel]]
    removals: ClassVar[Removals] = Removals.REPORTED
    page_size: ClassVar[int] = 1000

    def __init__(self, options: Any, fields: FieldMapping) -> None:
        self.options = options
        self.fields = fields

    @abstractmethod
    def check(self) -> CheckReport:
        """Try the credential and the source, and read as little as possible. Raises AdapterError."""

    @abstractmethod
    def pull(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield pages of all changes after ``cursor`` (None: everything). End without an error only when complete.

        Raises AdapterError. Memory must not grow with the number of records. Changes may repeat; none may be
        missed: cursors overlap where the CRM's own order has ties or late commits.
        """

    @abstractmethod
    def contact_fields(self, properties: Properties) -> ContactFields:
        """Read phone candidates, name and email from a record's properties, by the mapping or the usual names.

        Called only for changed records. Never raises on strange values: missing or odd ones become empty.
        """

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

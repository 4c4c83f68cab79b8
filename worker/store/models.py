"""The tables. The database is the source of truth: the known state, the wanted state, and what was done.

Two halves. *Contacts*: ``ContactMapping`` (a CRM record) -> ``Contact`` (a phone in an account: what VirtualText should
have, and what was last pushed). *Messages*: ``Message`` (an intent to text or to record) and its history,
``MessageEvent``. Times are UTC. A worker claims the rows that it works on with a lease (owner, until).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Computed,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.types import TypeEngine
from sqlmodel import Field, SQLModel

from worker.core.clock import utcnow as utcnow
from worker.core.states import DeliveryState, InboxState, MessageKind, MessageState, PauseKind, PushState, RunState
from worker.store.sealed import SealedHash, SealedHashText, SealedReason, SealedString, SealedText


class UTCDateTime(TypeDecorator[datetime]):
    """A UTC time on every database. SQLite drops time zones, so they are added again on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True
    _last: tuple[datetime | None, datetime | None] = (None, None)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC. Refuses times without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone reached the store")
        if dialect.name != "sqlite":
            return value.astimezone(UTC)
        # A thousand rows of a page share the same time, the same object.
        given, naive = self._last
        if value is not given:
            naive = value.astimezone(UTC).replace(tzinfo=None)
            self._last = (value, naive)
        return naive

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return a UTC time with its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class RowId(TypeDecorator[int]):
    """A 64-bit row number, because upserts on PostgreSQL consume numbers. On SQLite it is INTEGER, its own row id."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[int]:
        """Return INTEGER for SQLite, where it has 64 bits and is the row id."""
        return dialect.type_descriptor(Integer() if dialect.name == "sqlite" else BigInteger())


class Code(TypeDecorator[str]):
    """A short code stored as text, so that a new member of an enumeration needs no migration."""

    impl = String(40)
    cache_ok = True


def _time(*, nullable: bool = True, index: bool = False) -> Any:
    if nullable:
        return Field(default=None, sa_type=UTCDateTime, index=index)
    return Field(default_factory=utcnow, sa_type=UTCDateTime, index=index)


def _content(place: str, **options: Any) -> Any:
    """Return a column of text whose values may be encrypted. ``place`` is its table and its name."""
    return Field(sa_type=SealedText(place), **options)


def _short_content(place: str) -> Any:
    return Field(default="", sa_type=SealedString(place))


def _reason(place: str) -> Any:
    return Field(default="", sa_type=SealedReason(place))


ID_END = "substr(id, 25)"
"""The last eight characters of a message's id, which its short form is made of. Queries write it like the index."""


def _index_where(condition: str, name: str, *columns: str) -> Index:
    """Return an index of the rows that meet the condition; the other rows take no space in it."""
    return Index(name, *columns, sqlite_where=text(condition), postgresql_where=text(condition))


class AccountState(SQLModel, table=True):
    """The state of a VirtualText account: if its list can be read, and if it is stopped, paused or slowed down."""

    __tablename__ = "account_state"

    account: str = Field(primary_key=True)
    listed_at: datetime | None = _time()
    """When the whole contact list was last read into ``remote_contact``."""
    list_unavailable_at: datetime | None = _time()
    """Since when the list counts as unavailable: a 408, or repeated failures. Correctness never depends on the list."""
    list_failures: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """How often in a row the list could not be read."""
    list_error: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    """Why the list could not be read the last time."""
    list_lease_owner: str | None = None
    list_lease_until: datetime | None = _time()
    linked_at: datetime | None = _time()
    """When it became known which contacts VirtualText had before ours; see ``contacts/linking``."""
    linked_how: str = Field(default="", sa_column_kwargs={"server_default": ""})
    """``list``, ``file`` or ``without list``."""
    linked_by: str = Field(default="", max_length=80, sa_column_kwargs={"server_default": ""})
    """Who decided it; empty if VirtualText's list was read."""
    stopped_at: datetime | None = _time()
    stopped_reason: str = ""
    """Set on 401/403: nothing is sent for the account until a probe after ``paused_until`` succeeds."""
    paused_until: datetime | None = _time()
    """Set on 429, on a stopped account to the next probe, and while the breaker is open."""
    pause_reason: str = Field(default="", sa_column_kwargs={"server_default": ""})
    trips: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """How often the breaker (``worker.limits.adaptive_rate``) has opened since the last success; 0: it is closed."""
    rate_ceiling: float | None = None
    """The requests per second to which a 429 lowered the fleet at ``rate_lowered_at``."""
    rate_lowered_at: datetime | None = _time()


class ConnectionState(SQLModel, table=True):
    """How far a connection has been read, and who reads it now."""

    __tablename__ = "connection_state"

    connection: str = Field(primary_key=True)
    cursor: str | None = _content("connection_state.cursor", default=None)
    """The adapter's JSON cursor, committed with the page that precedes it, or later."""
    baseline_at: datetime | None = _time()
    """When the first complete pull ended. No trigger fires before that."""
    batch_id: str | None = None
    """The batch of the blast guard: the runs from one complete pull to the next."""
    next_run_at: datetime | None = _time(index=True)
    schedule: str | None = None
    lease_owner: str | None = None
    lease_until: datetime | None = _time()
    run_id: int | None = Field(default=None, sa_type=RowId)
    """The open run; if the lease has ended, the run was interrupted."""
    fingerprint: str = Field(default="", sa_column_kwargs={"server_default": ""})
    """Of everything that decides what the records mean. If it changes, the next run starts from the top."""
    listing: bytes | None = Field(default=None, sa_type=LargeBinary)
    """The records that the listing in progress has seen, committed with the cursor (``worker.contacts.seen``)."""
    confirmed_at: datetime | None = _time()
    """When the last complete run ended. Records that were first seen later are not confirmed by a good source yet."""
    started_at: datetime | None = _time()
    """When the last run began: the connection that waits longest is first."""
    reconciled_at: datetime | None = _time()
    """When the last listing, or comparison of all ids, ended."""
    waits_until: datetime | None = _time()
    waits_reason: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    """Set when the CRM asks to wait or its budget is spent: no run starts before then."""
    stopped_at: datetime | None = _time()
    stopped_reason: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    """Set when the CRM rejects the credentials: no run starts until a check succeeds."""
    memory: str = _content("connection_state.memory", default="{}", sa_column_kwargs={"server_default": "{}"})
    """What the adapter keeps from run to run, JSON."""
    notes: str = _content("connection_state.notes", default="[]", sa_column_kwargs={"server_default": "[]"})
    """What the last run noticed about the source, JSON: sentences for a person."""
    shape: str = Field(default="{}", sa_type=Text, sa_column_kwargs={"server_default": "{}"})
    """The fields of the source that the configuration uses (``worker.contacts.shape``), JSON."""


class CrmGrant(SQLModel, table=True):
    """A connection's changing credential, encrypted. The lease makes sure that one worker at a time renews it."""

    __tablename__ = "crm_grant"

    connection: str = Field(primary_key=True)
    sealed: bytes = Field(sa_type=LargeBinary)
    connected_at: datetime = _time(nullable=False)
    renewed_at: datetime | None = _time()
    renewing_since: datetime | None = _time()
    """Set before a renewal is requested, cleared in the commit of its result: the credential may be used up if not."""
    lease_owner: str | None = None
    lease_until: datetime | None = _time()


class CrmBudget(SQLModel, table=True):
    """How much of a CRM's budget (a limit over an hour or longer) has been used since ``since``."""

    __tablename__ = "crm_budget"

    connection: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    since: datetime = _time(nullable=False)
    used: int = 0


class SyncRun(SQLModel, table=True):
    """One run of one connection and its result. The counts are numbers of records."""

    __tablename__ = "sync_run"

    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    connection: str = Field(index=True)
    state: RunState = Field(default=RunState.RUNNING, sa_type=Code)
    started_at: datetime = _time(nullable=False)
    finished_at: datetime | None = _time()
    batch_id: str = ""
    seen: int = 0
    unchanged: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    rejected: int = 0
    messages: int = 0
    error: str = _content("sync_run.error", default="")


class Contact(SQLModel, table=True):
    """A phone in an account: what VirtualText should have (``phone``, ``full_name``, ``email``, ``wanted_hash``), and
    what was last pushed (``pushed_hash``; None: nothing yet). The hashes differ exactly when there is something to
    push.
    """

    __table_args__ = (
        UniqueConstraint("account", "phone", name="uq_contact_account_phone"),
        Index("ix_contact_push", "account", "push_state", "next_attempt_at"),
        _index_where("virtualtext_id IS NOT NULL", "ix_contact_virtualtext_id", "account", "virtualtext_id"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    account: str
    phone: str
    full_name: str = _short_content("contact.full_name")
    email: str = _short_content("contact.email")
    wanted_hash: bytes = Field(sa_type=SealedHash)
    pushed_hash: bytes | None = Field(default=None, sa_type=SealedHash)
    pushed_at: datetime | None = _time()
    virtualtext_id: str | None = None
    push_state: PushState = Field(default=PushState.DUE, sa_type=Code)
    next_attempt_at: datetime | None = _time()
    attempts: int = 0
    attempted_at: datetime | None = _time()
    """When the last create or update was sent."""
    lease_owner: str | None = None
    lease_until: datetime | None = _time()
    last_error: str = _content("contact.last_error", default="")
    created_at: datetime = _time(nullable=False)
    missing_checks: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """How many checks in a row have found that VirtualText does not know ``virtualtext_id``."""
    missing_at: datetime | None = _time()
    """When the last of these checks was counted."""
    former_id: str | None = None
    """The id that was given up last. It is used again if VirtualText turns out to know it."""
    wrong_answers: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """How many responses in a row were about something else than this contact."""
    followed_hash: bytes | None = Field(default=None, sa_type=SealedHash)
    """The wanted fields for which one more update was made, because VirtualText had responded with other fields."""


class ContactMapping(SQLModel, table=True):
    """One CRM record, the contact it belongs to (None while it has no usable phone), and its last version."""

    __tablename__ = "contact_mapping"
    __table_args__ = (
        UniqueConstraint("connection", "external_id", name="uq_mapping_connection_external_id"),
        Index("ix_mapping_contact", "contact_id"),
        # For counting a connection's live records, and for reading them in chunks.
        _index_where("deleted_at IS NULL", "ix_mapping_live", "connection", "id"),
        _index_where("person IS NOT NULL", "ix_mapping_person", "connection", "person"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    connection: str
    external_id: str
    contact_id: int | None = Field(default=None, foreign_key="contact.id", sa_type=RowId)
    record_hash: bytes = Field(sa_type=SealedHash)
    """The hash of the record as it came, with the mapping rules: an equal hash means nothing to do."""
    properties: str = _content("contact_mapping.properties", default="{}")
    full_name: str = _short_content("contact_mapping.full_name")
    email: str = _short_content("contact_mapping.email")
    updated_at: datetime | None = _time()
    """The CRM's own time of the change."""
    revision: int = 1
    """The number of stored versions; it names the occurrence of a `changed` trigger."""
    first_seen_at: datetime = _time(nullable=False)
    changed_at: datetime = _time(nullable=False)
    deleted_at: datetime | None = _time()
    merged_into: str | None = None
    kind: str = Field(default="contact", sa_column_kwargs={"server_default": "contact"})
    """``contact``, or the kind of a record that belongs to a person, such as ``deal``."""
    person: str | None = None
    """The external id of the person's record, for a record that belongs to one."""


class RecordChangeRow(SQLModel, table=True):
    """What one version of a CRM record changed, so that `vtsync triggers backtest` knows the versions before it."""

    __tablename__ = "record_change"
    __table_args__ = (
        UniqueConstraint("connection", "external_id", "revision", name="uq_record_change_revision"),
        Index("ix_record_change_at", "at"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    connection: str
    external_id: str
    revision: int
    """The version that the change made; see ``ContactMapping.revision``."""
    at: datetime = _time(nullable=False)
    before: str = _content("record_change.before")
    """JSON: ``was`` has the fields that changed or vanished, with their values before; ``new`` names the new fields."""


class RejectedRecord(SQLModel, table=True):
    """A CRM record that could not be used, why, and since when. Deleted once the record can be used."""

    __tablename__ = "rejected_record"
    __table_args__ = (UniqueConstraint("connection", "key", name="uq_rejected_connection_key"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    connection: str
    key: str
    """The external id, or a description of its position if there is none."""
    code: str = Field(sa_type=Code)
    reason: str = _content("rejected_record.reason")
    where: str = _short_content("rejected_record.where")
    excerpt: str = _short_content("rejected_record.excerpt")
    since: datetime = _time(nullable=False)
    seen_at: datetime = _time(nullable=False)


class RemoteContactRow(SQLModel, table=True):
    """VirtualText's contact list as last read, for adopting contacts and looking up lost creates."""

    __tablename__ = "remote_contact"
    __table_args__ = (Index("ix_remote_phone", "account", "phone"),)

    account: str = Field(primary_key=True)
    virtualtext_id: str = Field(primary_key=True)
    phone: str
    full_name: str = _short_content("remote_contact.full_name")
    email: str = _short_content("remote_contact.email")
    listed_at: datetime = _time(nullable=False)


class ContactEvent(SQLModel, table=True):
    """Something notable that happened to a contact, for `vtsync explain`."""

    __tablename__ = "contact_event"
    __table_args__ = (Index("ix_contact_event_contact", "contact_id", "id"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    contact_id: int = Field(foreign_key="contact.id", sa_type=RowId)
    at: datetime = _time(nullable=False)
    kind: str = Field(sa_type=Code)
    detail: str = _content("contact_event.detail", default="")


class TriggerState(SQLModel, table=True):
    """Since when a trigger watches a connection. None: the next complete pull is its baseline, and texts nobody."""

    __tablename__ = "trigger_state"

    trigger: str = Field(primary_key=True)
    connection: str = Field(primary_key=True)
    fingerprint: str
    """The fingerprint of what it watches (not of its text): a change means a new baseline."""
    active_since: datetime | None = _time()


class PauseRow(SQLModel, table=True):
    """A connection or a trigger that a person has paused. Deleted when it is resumed."""

    __tablename__ = "pause"

    kind: PauseKind = Field(primary_key=True, sa_type=Code)
    name: str = Field(primary_key=True)
    """The name of the connection or the trigger."""
    since: datetime = _time(nullable=False)
    actor: str = Field(max_length=80)
    """Who paused it."""
    reason: str = _content("pause.reason", default="")
    """Why, in their words."""


class OptOut(SQLModel, table=True):
    """A number that must not be texted, by any account of this operator."""

    __tablename__ = "opt_out"

    phone: str = Field(primary_key=True)
    since: datetime = _time(nullable=False)
    source: str = Field(sa_type=Code)
    detail: str = _short_content("opt_out.detail")
    account: str = Field(default="", sa_column_kwargs={"server_default": ""})
    """The account through which alone it became known. Empty: through several, or none of them, such as by hand."""


class Message(SQLModel, table=True):
    """An intent to text somebody, or to record a text that was sent elsewhere. Committed before anything is done."""

    __table_args__ = (
        UniqueConstraint("account", "kind", "idempotency_key", name="uq_message_idempotency"),
        Index("ix_message_due", "account", "kind", "state", "due_at"),
        Index("ix_message_batch", "batch_id"),
        Index("ix_message_id_end", text(ID_END)),
        Index("ix_message_conversation", "account", "kind", "to_number", "sent_at"),
        Index("ix_message_contact", "contact_id"),
        Index("ix_message_to", "to_number", "created_at"),
        Index("ix_message_trigger", "trigger", "created_at"),
        Index("ix_message_attempted", "account", "attempted_at"),
        Index("ix_message_remote_id", "account", "virtualtext_message_id"),
        Index("ix_message_carrier_id", "carrier_message_id"),
        Index("ix_message_expiry", "state", "expires_at"),
        _index_where("echoed_at IS NOT NULL", "ix_message_echoed", "account", "kind", "echoed_at"),
    )

    id: str = Field(primary_key=True, max_length=32)
    """Time-ordered, see ``new_message_id``."""
    account: str
    kind: MessageKind = Field(sa_type=Code)
    state: MessageState = Field(default=MessageState.QUEUED, sa_type=Code)
    reason: str = _reason("message.reason")
    """Why it is in this state: a code such as `approval`, then an explanation for a person."""
    to_number: str
    from_number: str
    text: str = _content("message.text", default="")
    media: str = _content("message.media", default="[]")
    """JSON list of URLs."""
    segments: int = 0
    contact_id: int | None = Field(default=None, foreign_key="contact.id", sa_type=RowId)
    source: str = Field(default="", sa_type=Code)
    """Who asked: `trigger`, `task`, `cli`, `http`."""
    trigger: str | None = None
    connection: str | None = None
    external_id: str | None = None
    batch_id: str | None = None
    idempotency_key: str
    payload_hash: str = Field(sa_type=SealedHashText)
    """The hash of what the caller asked for. The same key with another hash is an error."""
    created_at: datetime = _time(nullable=False)
    due_at: datetime = _time(nullable=False)
    expires_at: datetime | None = _time()
    attempts: int = 0
    attempted_at: datetime | None = _time()
    unanswered_at: datetime | None = _time()
    """When the last attempt began whose response was lost: that attempt may have been carried out."""
    echoed_at: datetime | None = _time()
    """When the Relay's first event about this text was received."""
    body_hash: str = Field(default="", sa_type=SealedHashText)
    """The hash of the body as it is sent, stored when dispatching is committed."""
    lease_owner: str | None = None
    lease_until: datetime | None = _time()
    virtualtext_message_id: str | None = None
    reference_code: str = ""
    carrier: str | None = None
    carrier_message_id: str | None = None
    sent_at: datetime | None = _time()
    """For records: when the carrier sent it; it gives the position in the conversation."""
    urgent: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """Sent in quiet hours, too."""
    metadata_: str = Field(default="{}", sa_column=Column("metadata", Text, nullable=False, server_default="{}"))
    """A JSON object of the caller's. SQLModel needs the name ``metadata`` for itself."""
    callback_url: str | None = Field(default=None, sa_type=Text)
    """Where the caller wants this text's events."""
    approved_at: datetime | None = _time()
    """When a person approved it: neither the blast guard nor the breaker holds it again."""
    test: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """Made with a test key: decided about like any other, and never requested."""


class MessageMetadata(SQLModel, table=True):
    """One entry of a message's metadata, by which the message is found."""

    __tablename__ = "message_metadata"
    __table_args__ = (Index("ix_message_metadata_entry", "key", "value", "message_id"),)

    # With a cascade, because the version before deletes messages and does not know this table.
    message_id: str = Field(
        sa_column=Column("message_id", ForeignKey("message.id", ondelete="CASCADE"), primary_key=True)
    )
    key: str = Field(primary_key=True)
    value: str = Field(sa_type=Text)
    """A number as JSON writes it, ``true`` or ``false``, or the text itself."""


class MessageEvent(SQLModel, table=True):
    """One move of one message, with its reason and who made it."""

    __tablename__ = "message_event"
    __table_args__ = (Index("ix_message_event_message", "message_id", "id"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    message_id: str = Field(foreign_key="message.id")
    at: datetime = _time(nullable=False)
    from_state: str | None = None
    to_state: str
    reason: str = _reason("message_event.reason")
    actor: str = Field(default="worker", max_length=80)
    attempt: int = 0


class OptOutEvent(SQLModel, table=True):
    """One change of a number's opt-out. Never deleted: it proves who asked for it and when."""

    __tablename__ = "opt_out_event"
    __table_args__ = (Index("ix_opt_out_event_phone", "phone", "id"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    phone: str
    at: datetime = _time(nullable=False)
    opted_out: bool
    """False: the person opted in again."""
    source: str = Field(sa_type=Code)
    detail: str = _content("opt_out_event.detail", default="")
    actor: str = Field(default="worker", max_length=80)


class NumberReview(SQLModel, table=True):
    """A number whose owner may have asked not to be texted. Texts to it are held until a person decides."""

    __tablename__ = "number_review"

    phone: str = Field(primary_key=True)
    since: datetime = _time(nullable=False)
    last_at: datetime | None = _time()
    """When a further reply was noted. ``excerpt`` and ``inbound_id`` are of the newest. Empty: there was one reply."""
    inbound_id: str | None = None
    excerpt: str = _content("number_review.excerpt", default="")
    account: str = Field(default="", sa_column_kwargs={"server_default": ""})
    """The account to which the person wrote. Empty: several, or not the account of the record that it follows."""


class ReviewEvent(SQLModel, table=True):
    """The beginning or the end of a number's review. Never deleted: it proves why its texts waited, and who decided."""

    __tablename__ = "review_event"
    __table_args__ = (Index("ix_review_event_phone", "phone", "id"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    phone: str
    at: datetime = _time(nullable=False)
    opened: bool
    """False: the review ended."""
    detail: str = _content("review_event.detail", default="")
    actor: str = Field(default="worker", max_length=80)
    account: str = Field(default="", sa_column_kwargs={"server_default": ""})
    """The account to which the person wrote. Empty: it is not known, or the review ended."""


class ConsentEvent(SQLModel, table=True):
    """One statement about whether a person agrees to texts: the CRM's when it changes, START, by hand, an import.

    Rows are only added. Changes of an opt-out have their own proof, ``OptOutEvent``.
    """

    __tablename__ = "consent_event"
    __table_args__ = (
        Index("ix_consent_event_phone", "phone", "id"),
        _index_where("external_id IS NOT NULL", "ix_consent_event_record", "connection", "external_id", "id"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    phone: str
    at: datetime = _time(nullable=False)
    """When it became known."""
    given_at: datetime | None = _time()
    """When the person said it, where that is known and was earlier."""
    kind: str = Field(sa_type=Code)
    """``consent`` or, for the CRM's field of that name, ``do_not_text``."""
    answer: str = Field(sa_type=Code)
    """``yes``, ``no``, ``unknown`` (it cannot be read), or ``gone``: the CRM record is, or has another number."""
    source: str = Field(sa_type=Code)
    """``crm``, ``relay``, ``cli``, ``http`` or ``import``."""
    account: str = ""
    connection: str | None = None
    external_id: str | None = None
    field: str = ""
    """The field of the CRM record."""
    words: str = _content("consent_event.words", default="")
    """What the CRM, the person or the import said."""
    actor: str = Field(default="worker", max_length=80)


class Forgotten(SQLModel, table=True):
    """A number that was erased, or a CRM record of its person, as a keyed hash: it must not come back by itself."""

    __tablename__ = "forgotten"
    __table_args__ = (
        Index("ix_forgotten_subject", "subject"),
        _index_where("lifted_at IS NULL", "ix_forgotten_key", "key_id"),
    )

    digest: str = Field(primary_key=True, max_length=64)
    """The keyed hash of the number, or of the record."""
    subject: str = Field(max_length=64)
    """The keyed hash of the number that was forgotten."""
    key_id: str = Field(max_length=16)
    """Which key made the hashes."""
    kind: str = Field(sa_type=Code)
    """``number`` or ``record``."""
    at: datetime = _time(nullable=False)
    opted_out: bool = False
    """The number had opted out."""
    why: str = _content("forgotten.why", default="")
    actor: str = Field(default="", max_length=80)
    lifted_at: datetime | None = _time()
    """When somebody said that the person may come back."""
    phone: str | None = None
    """The number, only until everything about it is erased, so that an interrupted erasure can continue."""


class DatePlan(SQLModel, table=True):
    """When a date trigger is due for one CRM record. Planned again whenever the record's date changes."""

    __tablename__ = "date_plan"
    __table_args__ = (
        UniqueConstraint("trigger", "connection", "external_id", name="uq_date_plan"),
        Index("ix_date_plan_due", "due_at"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    trigger: str
    connection: str
    external_id: str
    occurrence: str
    """The date as the CRM has it; it names the occurrence in the idempotency key."""
    due_at: datetime | None = _time()
    """None: the trigger has fired, and does not fire again unless the date changes."""


class InboxEvent(SQLModel, table=True):
    """An event of VirtualText's Relay or of a carrier, stored before the call is answered. Contains no secrets."""

    __tablename__ = "inbox_event"
    __table_args__ = (Index("ix_inbox_due", "state", "due_at"), Index("ix_inbox_received", "received_at"))

    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    source: str = Field(sa_type=Code)
    """``relay`` or ``carrier``."""
    name: str
    """The account of the Relay, or the name of the configured carrier."""
    received_at: datetime = _time(nullable=False)
    payload: str = _content("inbox_event.payload")
    """The JSON as it came, without secrets."""
    numbers: str | None = Field(default=None, sa_type=Text)
    """The phone numbers of its texts, with spaces between them; None: not known, they may be anywhere in it."""
    state: InboxState = Field(default=InboxState.NEW, sa_type=Code)
    detail: str = _content("inbox_event.detail", default="")
    message_id: str | None = None
    """The message or inbound message of the event."""
    attempts: int = 0
    due_at: datetime = _time(nullable=False)
    lease_owner: str | None = None
    lease_until: datetime | None = _time()


class InboundMessage(SQLModel, table=True):
    """A text that somebody sent us."""

    __tablename__ = "inbound_message"
    __table_args__ = (
        UniqueConstraint("account", "virtualtext_message_id", name="uq_inbound_remote_id"),
        Index("ix_inbound_from", "from_number", "received_at"),
    )

    id: str = Field(primary_key=True, max_length=32)
    account: str
    from_number: str
    to_number: str
    text: str = _content("inbound_message.text", default="")
    media: str = _content("inbound_message.media", default="[]")
    keyword: str = Field(default="", sa_type=Code)
    """``stop``, ``start``, ``help``, ``review`` (may mean stop), or empty."""
    virtualtext_message_id: str | None = None
    received_at: datetime = _time(nullable=False)


class PublicEvent(SQLModel, table=True):
    """Something that CRMs and other services may want to know. Deleted once there is a delivery for each of them."""

    __tablename__ = "public_event"

    id: str = Field(primary_key=True, max_length=32)
    """Sorts by time; subscribers detect duplicates by it."""
    type: str = Field(sa_type=Code)
    at: datetime = _time(nullable=False)
    account: str
    phone: str
    message_id: str | None = None
    """The id of a message or an inbound message."""
    payload: str = _content("public_event.payload", default="{}")
    """The event's data, a JSON object."""


# The characters of a connection's name. Without them and "crm:", the rest of a target begins with the second colon.
_NAME_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_RECEIVER = (
    "CASE WHEN substr(target, 1, 4) = 'crm:'"
    f" THEN substr(target, 1, length(target) - length(ltrim(substr(target, 5), '{_NAME_CHARACTERS}')))"
    " ELSE target END"
)


class Delivery(SQLModel, table=True):
    """One event for one receiver: a subscriber, a record of a CRM, or the caller who asked for the text."""

    # The table keeps its old name, because the previous version must keep working while the processes are restarted.
    __tablename__ = "forward"
    __table_args__ = (
        UniqueConstraint("event_id", "target", name="uq_forward_event_target"),
        Index("ix_forward_due", "state", "due_at"),
        Index("ix_forward_target", "target", "state", "due_at"),
        Index("ix_forward_receiver", "receiver", "state", "due_at"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    event_id: str
    target: str
    """``subscriber:NAME``, ``crm:CONNECTION:EXTERNAL_ID`` or ``callback:ORIGIN``."""
    receiver: str | None = Field(
        default=None, sa_column=Column("receiver", String, Computed(_RECEIVER, persisted=True))
    )
    """``subscriber:NAME``, ``crm:CONNECTION`` or ``callback:ORIGIN``: the database computes it from ``target``."""
    url: str | None = Field(default=None, sa_type=Text)
    """For a callback: where the caller wants it. Its target is only the origin of this URL."""
    type: str = Field(sa_type=Code)
    payload: str = _content("forward.payload")
    created_at: datetime = _time(nullable=False)
    state: DeliveryState = Field(default=DeliveryState.DUE, sa_type=Code)
    due_at: datetime = _time(nullable=False)
    attempts: int = 0
    lease_owner: str | None = None
    lease_until: datetime | None = _time()
    last_error: str = _content("forward.last_error", default="")


class StoreKey(SQLModel, table=True):
    """A key that the store itself needs, encrypted with ``store.encryption_key``. A store in clear has none."""

    __tablename__ = "store_key"

    name: str = Field(primary_key=True, max_length=40)
    """``hashes``: the key of ``worker.core.content_cipher.HashKey``."""
    sealed: str = Field(sa_type=Text)
    rewritten_to: str | None = Field(default=None, max_length=40)
    """How `vtsync encrypt` has stored all rows: the id of a key, or ``clear``. None: in several ways."""
    rewritten_at: datetime | None = _time()


class ApiKey(SQLModel, table=True):
    """A key of the HTTP API. Only its hash is stored."""

    __tablename__ = "api_key"

    id: str = Field(primary_key=True, max_length=32)
    """The public part of the key."""
    name: str
    key_hash: str
    scopes: str = Field(default="[]", sa_type=Text)
    """JSON list, such as ``messages:write``."""
    accounts: str = Field(default="[]", sa_type=Text)
    """JSON list of account names; empty: all."""
    created_at: datetime = _time(nullable=False)
    created_by: str = Field(default="", max_length=80)
    revoked_at: datetime | None = _time()
    last_used_at: datetime | None = _time()
    test: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    """What the key makes is decided about like anything else, and never leaves."""


class CarrierState(SQLModel, table=True):
    """How far a carrier's list of sent texts has been read."""

    __tablename__ = "carrier_state"

    name: str = Field(primary_key=True)
    polled_until: datetime | None = _time()
    next_poll_at: datetime | None = _time()
    lease_owner: str | None = None
    lease_until: datetime | None = _time()
    last_error: str = Field(default="", sa_type=Text)


class Heartbeat(SQLModel, table=True):
    """A process of the fleet that is alive; each process writes its own row every half minute."""

    id: str = Field(primary_key=True, max_length=80)
    """For example ``worker:HOST:PID``."""
    role: str = Field(sa_type=Code)
    """``worker``, ``beat``, ``web``; ``tick`` is the last tick that a worker carried out."""
    version: str = Field(default="", max_length=40)
    started_at: datetime = _time(nullable=False)
    seen_at: datetime = _time(nullable=False)
    clock_ahead: float | None = None
    """By how many seconds the clock of its machine is ahead of the store's (behind: negative)."""


class MaintenanceLock(SQLModel, table=True):
    """A kind of maintenance, such as retention or the tick, which one process of the fleet does from time to time."""

    __tablename__ = "chore"

    name: str = Field(primary_key=True, max_length=40)
    next_run_at: datetime | None = _time()
    lease_owner: str | None = None
    lease_until: datetime | None = _time()


class ConfigurationProblem(SQLModel, table=True):
    """A configuration file that was changed while processes ran, and that they cannot use."""

    __tablename__ = "configuration_problem"

    place: str = Field(primary_key=True)
    """The path of the file, and its machine."""
    problem: str = Field(sa_type=Text)
    since: datetime = _time(nullable=False)
    seen_at: datetime = _time(nullable=False)


class DeadLetter(SQLModel, table=True):
    """A message of the broker that was refused. Its content is not stored."""

    __tablename__ = "dead_letter"

    id: str = Field(primary_key=True, max_length=32)
    """A fingerprint of the message, so that a message that is delivered again is the same dead letter."""
    queue: str = Field(default="", max_length=100)
    task: str = Field(default="", max_length=100)
    message_id: str = Field(default="", max_length=150)
    reason: str = Field(sa_type=Text)
    size: int = 0
    first_at: datetime = _time(nullable=False)
    last_at: datetime = _time(nullable=False, index=True)
    times: int = 1


class WebUser(SQLModel, table=True):
    """A person who may sign in to the pages of `vtsync web`."""

    __tablename__ = "web_user"
    __table_args__ = (Index("uq_web_user_subject", "issuer", "subject", unique=True),)

    name: str = Field(primary_key=True, max_length=80)
    role: str = Field(sa_type=Code)
    """``viewer``, ``operator`` or ``admin``."""
    password_hash: str = ""
    """Argon2id. Empty: only another way to sign in works."""
    totp: bytes | None = Field(default=None, sa_type=LargeBinary)
    """The secret of the second factor, encrypted."""
    totp_step: int = 0
    """The time step of the code that was used last. No code works twice."""
    failures: int = 0
    """Failed attempts to sign in since the last success."""
    failed_at: datetime | None = _time()
    created_at: datetime = _time(nullable=False)
    created_by: str = Field(default="", max_length=80)
    disabled_at: datetime | None = _time()
    issuer: str | None = Field(default=None, max_length=255)
    """Who says who this is: an issuer of OpenID Connect, or ``proxy``. None: the person has a password."""
    subject: str | None = Field(default=None, max_length=255)
    """The issuer's name for the person, which never changes."""


class WebSignIn(SQLModel, table=True):
    """A sign-in that was begun at an OpenID provider. Only the hash of the browser's token is stored."""

    __tablename__ = "web_sign_in"

    token_hash: str = Field(primary_key=True, max_length=64)
    expires_at: datetime = _time(nullable=False, index=True)


class WebSession(SQLModel, table=True):
    """A browser in which a person has signed in. Only the hash of its token is stored."""

    __tablename__ = "web_session"

    token_hash: str = Field(primary_key=True, max_length=64)
    name: str = Field(index=True, max_length=80)
    """The person's."""
    created_at: datetime = _time(nullable=False)
    seen_at: datetime = _time(nullable=False)
    expires_at: datetime = _time(nullable=False, index=True)
    address: str = Field(default="", max_length=64)
    browser: str = Field(default="", max_length=200)


class AuditEvent(SQLModel, table=True):
    """What a person did or read in the pages, an API key decided or read to operate, or anybody paused or resumed."""

    __tablename__ = "audit_event"

    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    at: datetime = _time(nullable=False, index=True)
    actor: str = Field(max_length=80)
    action: str = Field(sa_type=Code)
    """Such as ``signed_in``, ``read_person``, ``approved``."""
    about: str = Field(default="", max_length=200, index=True)
    """A number, the id of a message or a batch, a trigger, a connection, a receiver, or a person's name."""
    detail: str = _content("audit_event.detail", default="")
    address: str = Field(default="", max_length=64)


class AlertRow(SQLModel, table=True):
    """Something that waits for a person or does not work, from when it is first seen until people know that it ended.

    Without numbers and texts of people. ``worker.alerts.decide`` describes how a row goes on.
    """

    __tablename__ = "alert"
    __table_args__ = (
        Index(
            "uq_alert_open",
            "key",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    key: str = Field(max_length=200)
    """Its kind and its subject, which stay the same while counts change."""
    kind: str = Field(sa_type=Code)
    urgent: bool = False
    found: str = Field(default="", sa_type=Text)
    remedy: str = Field(default="", sa_type=Text)
    since: datetime = _time(nullable=False)
    seen_at: datetime = _time(nullable=False)
    raised_at: datetime | None = _time()
    """When it had lasted long enough to count. Subscribers are told at once, people perhaps after a quiet night."""
    told_at: datetime | None = _time()
    """When people were last told."""
    told_urgent: bool = False
    ended_at: datetime | None = _time(index=True)
    end_told_at: datetime | None = _time()

"""The answers about one person: why they got a text or not, and the ledger of consents."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from worker.web.connection_schemas import UnreadValueOut
from worker.web.operating_schemas import EXAMPLE_ID, OperatingOut
from worker.web.schemas import MessageDetail, OptOutOut, ReplyOut


class ConsentOut(OperatingOut):
    """One statement of the ledger: a CRM, the person or an import said if the person may be texted."""

    at: datetime = Field(description="When it became known.")
    given_at: datetime | None = Field(description="When it was said, if that is known and was earlier.")
    kind: str = Field(examples=["consent"])
    answer: str = Field(examples=["yes"])
    source: str = Field(examples=["http"])
    account: str = Field(examples=["main"])
    connection: str | None = Field(examples=[None])
    external_id: str | None = Field(examples=[None])
    field: str = Field(examples=[""])
    words: str = Field(examples=["signed up at the counter"])
    actor: str = Field(examples=["key shop"])


class ConsentsOut(OperatingOut):
    """What the ledger has about a number, oldest first."""

    phone: str = Field(examples=["+14155552671"])
    consents: list[ConsentOut]


class ExplainedRecord(OperatingOut):
    """A CRM record that has the number, or that a text to it was about."""

    connection: str = Field(examples=["crm"])
    external_id: str = Field(examples=["1042"])
    full_name: str = Field(examples=["Ada Lovelace"])
    first_seen_at: datetime
    changed_at: datetime
    deleted_at: datetime | None
    merged_into: str | None = Field(examples=[None])
    belongs: bool = Field(description="False: the record has another number now.", examples=[True])


class ContactEventOut(OperatingOut):
    """Something that happened to a contact."""

    at: datetime
    kind: str = Field(examples=["created"])
    detail: str = Field(examples=[""])


class ExplainedContact(OperatingOut):
    """The number as a contact of one account."""

    account: str = Field(examples=["main"])
    full_name: str = Field(examples=["Ada Lovelace"])
    email: str = Field(examples=["ada@example.com"])
    virtualtext_id: str | None = Field(examples=["5512"])
    push_state: str = Field(examples=["synced"])
    pushed_at: datetime | None
    next_attempt_at: datetime | None
    last_error: str = Field(examples=[""])
    records: list[ExplainedRecord]
    events: list[ContactEventOut]


class RejectionOut(OperatingOut):
    """A record of this person that cannot be used as it is."""

    connection: str = Field(examples=["crm"])
    key: str = Field(examples=["1042"])
    reason: str = Field(examples=["has no phone number"])
    where: str = Field(examples=[""])
    since: datetime


class PlannedText(OperatingOut):
    """A text about a date, which its trigger makes at `at` unless the record changes."""

    connection: str = Field(examples=["crm"])
    external_id: str = Field(examples=["1042"])
    trigger: str = Field(examples=["reminder"])
    at: datetime


class OptOutChangeOut(OperatingOut):
    """One change of the number's opt-out."""

    at: datetime
    opted_out: bool = Field(examples=[True])
    source: str = Field(examples=["relay"])
    detail: str = Field(examples=['wrote "STOP"'])
    actor: str = Field(examples=["worker"])


class ReviewChangeOut(OperatingOut):
    """The beginning or the end of a review."""

    at: datetime
    opened: bool = Field(examples=[True])
    detail: str = Field(examples=["please stop it lol"])
    actor: str = Field(examples=["relay"])


class StandingOut(OperatingOut):
    """What the policy would decide now about a text of one account."""

    account: str = Field(examples=["main"])
    clocks: list[list[str]] = Field(
        description="Time zones with their local times.", examples=[[["America/New_York", "Mon 14:30"]]]
    )
    states: list[str] = Field(examples=[["NY"]])
    source: str = Field(description="How the time zone is known.", examples=["area code 212"])
    hours: str | None = Field(description="When texts may go; null: at any hour.", examples=["08:00 to 20:00"])
    open_now: bool = Field(examples=[True])
    opens_at: datetime | None
    obstacles: list[str] = Field(description="Why a text would never be sent.", examples=[[]])
    verdict: str = Field(description="What happens to a text that is made now.", examples=["a text is sent at once"])
    max_texts: int | None = Field(description="How many texts in 24 hours.", examples=[3])


class ExplainedOut(OperatingOut):
    """What `vtsync explain` says: why this person did, or did not, get each text.

    For a key of some accounts, what is about all accounts is empty or null: histories of opt-outs and reviews,
    `texts_last_24h` and `standings`.
    """

    phone: str = Field(examples=["+14155552671"])
    known: bool = Field(description="False: nothing is known about the number.", examples=[True])
    opted_out: OptOutOut
    contacts: list[ExplainedContact]
    other_records: list[ExplainedRecord]
    rejections: list[RejectionOut]
    messages: list[MessageDetail]
    planned: list[PlannedText]
    unread: list[UnreadValueOut]
    opt_out_history: list[OptOutChangeOut]
    review_history: list[ReviewChangeOut]
    review_since: datetime | None = Field(description="Since when a reply waits for a decision.")
    texts_last_24h: int | None = Field(examples=[1])
    consents: list[ConsentOut]
    replies: list[ReplyOut]
    consent_of: dict[str, str] = Field(
        description="The consent that was on record when each message was decided, by its id.",
        examples=[{EXAMPLE_ID: "by text (+14155552671)"}],
    )
    paused: list[tuple[str, str]] = Field(
        description="The connections and triggers of it that are paused; and since when, by whom and why.",
        examples=[[("trigger welcome", "paused since 2027-03-01 14:30 UTC by key shop (the link is wrong)")]],
    )
    standings: list[StandingOut]

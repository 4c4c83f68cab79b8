"""What goes over the wire below ``/v1``: the bodies that are taken, the answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Header, Path
from pydantic import BaseModel, ConfigDict, Field

from worker.messages.history import Story
from worker.messages.listing import ListedMessage

E164 = r"^\+[1-9][0-9]{6,14}$"
NO_NUL = r"^[^\x00]*$"
"""PostgreSQL keeps no NUL in a text."""
WORDS = r"^[^\x00]*[^\x00\s][^\x00]*$"
LONGEST_KEY = 150

# A length also keeps out halves of surrogate pairs, which no answer could repeat.
Account = Annotated[
    str | None, Field(max_length=100, description="Left out: the only one that there is.", examples=["main"])
]
Url = Annotated[str, Field(max_length=2000)]

Phone = Annotated[str, Path(pattern=E164, description="E.164.", examples=["+14155552671"])]
MessageId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", examples=["01931f6ac2d97b6aa1f2b3c4d5e6f708"])]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=LONGEST_KEY,
        pattern=r"^[!-~]+$",
        description="The same request with the same key does nothing twice. Without one, each request is a new text.",
        examples=["order-17-ready"],
    ),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class SendBody(_Body):
    """A text to send, now or later."""

    account: Account = None
    to: str = Field(pattern=E164, examples=["+14155552671"])
    message: str = Field(
        "", max_length=1600, description="May be empty when there is media.", examples=["Your table is ready."]
    )
    media: list[Url] = Field(
        default_factory=list, max_length=10, description="Public URLs.", examples=[["https://example.com/menu.png"]]
    )
    from_number: str | None = Field(None, pattern=E164, description="Left out: the account's number.")
    send_at: datetime | None = Field(None, description="Not before, with a zone.", examples=["2027-03-01T14:30:00Z"])
    expires_at: datetime | None = Field(None, description="Not after; left out: policy.expires_after later.")
    urgent: bool = Field(False, description="Also in quiet hours: only for what the person waits for right now.")


class RecordBody(_Body):
    """A text that was sent already, through a carrier. It is put into the conversation; nobody is texted."""

    account: Account = None
    to: str = Field(pattern=E164, examples=["+14155552671"])
    message: str = Field("", max_length=1600, examples=["Your code is 123456."])
    media: list[Url] = Field(default_factory=list, max_length=10)
    from_number: str | None = Field(None, pattern=E164, description="Left out: the account's number.")
    carrier: str | None = Field(None, max_length=40, pattern=NO_NUL, examples=["twilio"])
    carrier_message_id: str | None = Field(
        None,
        max_length=100,
        pattern=NO_NUL,
        description="With `carrier`: it is recorded once.",
        examples=["SM0123456789abcdef"],
    )
    sent_at: datetime | None = Field(None, description="When, with a zone: its place in the conversation.")


class OptOutBody(_Body):
    """A number to be texted no more."""

    phone: str = Field(pattern=E164, examples=["+14155552671"])
    reason: str = Field(
        pattern=WORDS, max_length=500, description="Kept as the proof.", examples=["asked at the counter"]
    )


class Taken(BaseModel):
    """What a request has become."""

    id: str = Field(examples=["01931f6ac2d97b6aa1f2b3c4d5e6f708"])
    state: str = Field(examples=["queued"])
    reason: str = Field(description="Why it is in this state: a code, then words for a person.", examples=[""])
    duplicate: bool = Field(description="An earlier request made it.")


class MessageOut(BaseModel):
    """One message."""

    id: str = Field(examples=["01931f6ac2d97b6aa1f2b3c4d5e6f708"])
    account: str = Field(examples=["main"])
    kind: str = Field(description="`send`, or `record` for one that was sent elsewhere.", examples=["send"])
    state: str = Field(examples=["accepted"])
    reason: str = Field(description="Why it is in this state: a code, then words for a person.", examples=[""])
    to: str = Field(examples=["+14155552671"])
    from_number: str = Field(examples=["+14155550100"])
    message: str = Field(examples=["Your table is ready."])
    segments: int = Field(description="How many SMS it is counted as.", examples=[1])
    source: str = Field(examples=["http"])
    trigger: str | None = Field(description="The trigger that made it.", examples=[None])
    created_at: datetime = Field(examples=["2027-03-01T14:30:00Z"])
    due_at: datetime = Field(description="Not before.", examples=["2027-03-01T14:30:00Z"])
    attempts: int = Field(description="Requests to VirtualText.", examples=[1])
    virtualtext_message_id: str | None = Field(examples=["8842"])


class Event(BaseModel):
    """One move of a message; `before` is null for its creation."""

    at: datetime = Field(examples=["2027-03-01T14:30:01Z"])
    before: str | None = Field(examples=["queued"])
    after: str = Field(examples=["accepted"])
    reason: str
    actor: str = Field(description="Who moved it: a worker, a key, a person.", examples=["worker"])


class RecordOut(BaseModel):
    """A CRM record."""

    connection: str = Field(examples=["crm"])
    external_id: str = Field(examples=["1042"])


class MessageDetail(MessageOut):
    """One message with all that happened to it, the oldest first."""

    media: list[str]
    expires_at: datetime | None
    sent_at: datetime | None
    record: RecordOut | None = Field(description="The CRM record that it is about.")
    carrier: str | None
    carrier_message_id: str | None
    events: list[Event]


class MessageList(BaseModel):
    """A page of messages, the newest first. ``next``: the value of `before` for the next page."""

    messages: list[MessageOut]
    next: str | None = Field(description="The `before` of the next page; null: this is the last one.")


class OptOutOut(BaseModel):
    """Whether a number may be texted."""

    phone: str = Field(examples=["+14155552671"])
    opted_out: bool
    since: datetime | None = None
    source: str | None = Field(None, examples=["relay"])
    detail: str | None = Field(None, examples=['wrote "STOP"'])


class ContactOut(BaseModel):
    """A VirtualText contact."""

    account: str = Field(examples=["main"])
    virtualtext_id: str | None = Field(examples=["5512"])
    full_name: str = Field(examples=["Ada Lovelace"])
    email: str = Field(examples=["ada@example.com"])
    records: list[RecordOut]


class ReplyOut(BaseModel):
    """A text that the number wrote."""

    account: str = Field(examples=["main"])
    message: str = Field(examples=["Thank you!"])
    keyword: str = Field(description="`stop`, `start`, `help`, `review` (may mean stop), or nothing.", examples=[""])
    received_at: datetime


class PersonOut(BaseModel):
    """All that is known of a number: its newest texts and replies, the newest first."""

    phone: str = Field(examples=["+14155552671"])
    opted_out: bool
    contacts: list[ContactOut]
    messages: list[MessageOut]
    replies: list[ReplyOut]


def message_out(one: ListedMessage) -> MessageOut:
    """A message of a list."""
    return MessageOut(**_shared(one))


def message_detail(one: ListedMessage, more: Story) -> MessageDetail:
    """A message with its story."""
    return MessageDetail(
        **_shared(one),
        media=list(more.media),
        expires_at=more.expires_at,
        sent_at=more.sent_at,
        record=None if more.about is None else RecordOut(connection=more.about[0], external_id=more.about[1]),
        carrier=more.carrier,
        carrier_message_id=more.carrier_message_id,
        events=[
            Event(at=step.at, before=step.before, after=step.after, reason=step.reason, actor=step.actor)
            for step in more.steps
        ],
    )


def _shared(one: ListedMessage) -> dict[str, Any]:
    named = {name: getattr(one, name) for name in MessageOut.model_fields if name not in ("to", "message")}
    return named | {"to": one.to_number, "message": one.text}

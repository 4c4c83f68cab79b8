"""The request bodies and answers of ``/v1``.

The bodies take their fields from ``worker.messages.requests``, except that the idempotency key is a header, and the
account may be left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import Header, Path
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.config import JsonDict

from worker.messages.metadata import Value
from worker.messages.read_models import MessageDetails, MessageSummary, ReceivedReply
from worker.messages.request_problems import (
    E164_PATTERN,
    MESSAGE_ID_PATTERN,
    NOT_BLANK_PATTERN,
    PRINTABLE_PATTERN,
    InvalidRequest,
    read_errors,
)
from worker.messages.requests import AccountName, PhoneNumber, RecordContent, SendContent
from worker.web.problems import ProblemBody

LARGEST_BATCH = 1000
LONGEST_KEY_HEADER = 150
"""Shorter than in the outbox, which stores the id of the API key in front of it."""

OptionalAccount = Annotated[
    AccountName | None, Field(description="Default: the only account that the key may use.", examples=["main"])
]
PhonePath = Annotated[str, Path(pattern=E164_PATTERN, description="E.164.", examples=["+14155552671"])]
MessageIdPath = Annotated[str, Path(pattern=MESSAGE_ID_PATTERN, examples=["01931f6ac2d97b6aa1f2b3c4d5e6f708"])]
IdempotencyKeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=LONGEST_KEY_HEADER,
        pattern=PRINTABLE_PATTERN,
        description="Repeating a request with the same key does nothing twice. Without a key, each request is a new"
        " text.",
        examples=["order-17-ready"],
    ),
]


_EXPECTED_AT = (
    "When a queued text will go, as far as that is known now: after quiet hours, caps and pauses. Null: it waits for"
    " somebody, expires before it may go, or is not queued; `state` and `reason` say why."
)


_TEXT: JsonDict = {"to": "+14155552671", "message": "Your table is ready."}
_SENT: JsonDict = _TEXT | {"carrier": "twilio", "carrier_message_id": "SM3f1c"}


class SendBody(SendContent):
    """A text to send, now or later."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TEXT]})

    account: OptionalAccount = None


class BatchItem(SendBody):
    """One text of a batch."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TEXT | {"idempotency_key": "order-17-ready"}]})

    idempotency_key: Annotated[
        str | None, Field(min_length=1, max_length=LONGEST_KEY_HEADER, pattern=PRINTABLE_PATTERN)
    ] = Field(None, description="As the header `Idempotency-Key` of a single text.", examples=["order-17-ready"])


def _item(value: object, read: ValidatorFunctionWrapHandler) -> BatchItem | InvalidRequest:
    """Read one text, or find what is wrong with it: one bad text must not stop the others."""
    try:
        item: BatchItem = read(value)
    except ValidationError as error:
        return InvalidRequest(read_errors(error.errors(include_url=False), BatchItem.model_fields))
    return item


class BatchBody(BaseModel):
    """Texts to send."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    messages: list[Annotated[BatchItem, WrapValidator(_item)]] = Field(min_length=1, max_length=LARGEST_BATCH)

    def items(self) -> Sequence[BatchItem | InvalidRequest]:
        """Return each text, or what is wrong with it."""
        return self.messages


class RecordBody(RecordContent):
    """A text that was already sent through a carrier. It is put into the conversation; nobody is texted."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SENT]})

    account: OptionalAccount = None


class OptOutBody(BaseModel):
    """A number that must no longer be texted."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    phone: PhoneNumber = Field(examples=["+14155552671"])
    reason: str = Field(
        pattern=NOT_BLANK_PATTERN, max_length=500, description="Stored as proof.", examples=["asked at the counter"]
    )


class Taken(BaseModel):
    """The message that a request created, or that an earlier one with the same key created."""

    id: str = Field(examples=["01931f6ac2d97b6aa1f2b3c4d5e6f708"])
    state: str = Field(examples=["queued"])
    reason: str = Field(description="Why it is in this state: a code, then an explanation.", examples=[""])
    duplicate: bool = Field(description="An earlier request created it.")
    test: bool = Field(
        description="Nothing is sent: this is a test key, or the account is in test mode.", examples=[False]
    )
    expected_at: datetime | None = Field(description=_EXPECTED_AT, examples=["2027-03-01T14:34:00Z"])


class BatchOutcome(BaseModel):
    """What became of one text: it was stored (`taken`), or it was not (`problem`)."""

    status: int = Field(description="The status that this text would have got alone.", examples=[202])
    taken: Taken | None = Field(
        None,
        examples=[
            {"id": "01931f6ac2d97b6aa1f2b3c4d5e6f708", "state": "queued", "reason": "", "duplicate": False}
            | {"test": False, "expected_at": "2027-03-01T14:34:00Z"}
        ],
    )
    problem: ProblemBody | None = None


class BatchOut(BaseModel):
    """The outcomes of a batch, in the order of its texts."""

    stored: int = Field(description="How many are stored, also by an earlier request.", examples=[1])
    refused: int = Field(description="How many are not.", examples=[0])
    outcomes: list[BatchOutcome]


class MessageOut(BaseModel):
    """One message."""

    id: str = Field(examples=["01931f6ac2d97b6aa1f2b3c4d5e6f708"])
    account: str = Field(examples=["main"])
    kind: str = Field(description="`send`, or `record` for one that was sent elsewhere.", examples=["send"])
    state: str = Field(examples=["accepted"])
    reason: str = Field(description="Why it is in this state: a code, then an explanation.", examples=[""])
    to: str = Field(examples=["+14155552671"])
    from_number: str = Field(examples=["+14155550100"])
    message: str = Field(examples=["Your table is ready."])
    segments: int = Field(description="How many SMS it counts as.", examples=[1])
    source: str = Field(examples=["http"])
    trigger: str | None = Field(description="The trigger that made it.", examples=[None])
    batch: str | None = Field(description="The sync that made it.", examples=[None])
    created_at: datetime = Field(examples=["2027-03-01T14:30:00Z"])
    due_at: datetime = Field(description="The earliest time to send it.", examples=["2027-03-01T14:30:00Z"])
    attempts: int = Field(description="Requests to VirtualText.", examples=[1])
    virtualtext_message_id: str | None = Field(examples=["8842"])
    metadata: dict[str, Value] = Field(description="What the caller gave it.", examples=[{"order": 17}])
    test: bool = Field(description="It was made with a test key, and is never sent.", examples=[False])


class Event(BaseModel):
    """One change of a message's state; `before` is null for its creation."""

    at: datetime = Field(examples=["2027-03-01T14:30:01Z"])
    before: str | None = Field(examples=["queued"])
    after: str = Field(examples=["accepted"])
    reason: str
    actor: str = Field(description="Who changed it: a worker, a key, a person.", examples=["worker"])


class RecordOut(BaseModel):
    """A CRM record."""

    connection: str = Field(examples=["crm"])
    external_id: str = Field(examples=["1042"])


class MessageDetail(MessageOut):
    """One message with its history, oldest event first."""

    media: list[str]
    expires_at: datetime | None
    sent_at: datetime | None
    expected_at: datetime | None = Field(description=_EXPECTED_AT, examples=["2027-03-01T14:34:00Z"])
    record: RecordOut | None = Field(description="The CRM record that it is about.")
    carrier: str | None
    carrier_message_id: str | None
    events: list[Event]


class MessageList(BaseModel):
    """A page of messages, newest first. ``next``: the value of `before` for the next page."""

    messages: list[MessageOut]
    next: str | None = Field(description="The `before` of the next page; null on the last page.")


class OptOutOut(BaseModel):
    """A number and its opt-out, if there is one. How it was made is shown only to keys of its account."""

    phone: str = Field(examples=["+14155552671"])
    opted_out: bool = Field(examples=[True])
    since: datetime | None = Field(None, examples=["2027-03-01T14:30:00Z"])
    source: str | None = Field(None, examples=["relay"])
    detail: str | None = Field(None, examples=['wrote "STOP"'])


class OptOutList(BaseModel):
    """Opt-outs in the order of their numbers."""

    opt_outs: list[OptOutOut]
    next: str | None = Field(description="The `after` of the next page; null on the last page.", examples=[None])


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
    keyword: str = Field(description="`stop`, `start`, `help`, `review` (may mean stop), or empty.", examples=[""])
    received_at: datetime


class PersonOut(BaseModel):
    """Everything that is known about a number, with its newest texts and replies, newest first."""

    phone: str = Field(examples=["+14155552671"])
    opted_out: bool
    contacts: list[ContactOut]
    messages: list[MessageOut]
    replies: list[ReplyOut]


class PersonExport(BaseModel):
    """Everything that is stored about a person. The sections are described in docs/privacy.md."""

    model_config = ConfigDict(extra="allow")

    schema_: str = Field(alias="schema", examples=["vtsync.person/1"])
    phone: str = Field(examples=["+14155552671"])
    exported_at: datetime
    accounts: list[str] | None = Field(description="The accounts whose part this is; null: all of them.")
    opted_out: bool
    forgotten_at: datetime | None
    may_be_texted: dict[str, str] | None = Field(
        description="What happens to a text that is made now, by account; null for a key of some accounts."
    )
    texts: list[dict[str, Any]]


class ForgottenOut(BaseModel):
    """What was erased, and what this service cannot reach."""

    phone: str = Field(examples=["+14155552671"])
    rows: dict[str, int] = Field(description="Erased rows, by the section of an export.", examples=[{"texts": 4}])
    mentions: int = Field(description="Rows about the work from which the number was erased.", examples=[0])
    opted_out: bool = Field(description="The person had opted out, which holds.")
    other_numbers: list[str] = Field(description="Earlier numbers of the person.")
    named: list[str] = Field(description="Rows about other people that mention the number, and stay.")
    not_erased: list[str] = Field(description="Where the person's data may still be.")


class RememberBody(BaseModel):
    """Why a person who was forgotten is known again."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    reason: str = Field(
        pattern=NOT_BLANK_PATTERN, max_length=500, description="Stored as proof.", examples=["is a customer again"]
    )


class RememberedOut(BaseModel):
    """A person who may come back from the CRM."""

    phone: str = Field(examples=["+14155552671"])
    opted_out: bool = Field(description="An opt-out from before holds.", examples=[False])


def message_out(summary: MessageSummary) -> MessageOut:
    """Return a message as a list shows it."""
    return MessageOut(**_named(MessageOut, summary))


def reply_out(reply: ReceivedReply) -> ReplyOut:
    """Return a text that the number wrote."""
    return ReplyOut(**_named(ReplyOut, reply))


def message_detail(details: MessageDetails) -> MessageDetail:
    """Return a message with its history."""
    about = details.about
    return MessageDetail(
        **_named(MessageDetail, details),
        record=None if about is None else RecordOut(connection=about[0], external_id=about[1]),
        events=[Event(**_named(Event, step)) for step in details.steps],
    )


_READ_AS = {"to": "to_number", "message": "text", "batch": "batch_id"}
_MADE_HERE = ("record", "events")


def _named(model: type[BaseModel], row: object) -> dict[str, Any]:
    """Return the fields that ``model`` takes from a row as they are."""
    names = [name for name in model.model_fields if name not in _MADE_HERE]
    return {name: getattr(row, _READ_AS.get(name, name)) for name in names}

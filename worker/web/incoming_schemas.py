"""The request bodies and answers about what came in and was refused: dead letters and events."""

from __future__ import annotations

from datetime import datetime

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from worker.messages.request_problems import FieldProblem
from worker.web.operating_schemas import MOST_SHOWN, OperatingBody, OperatingOut


class DeadLetterOut(OperatingOut):
    """A message of the broker that was refused. Its content is not kept."""

    id: str = Field(examples=["0f3c"])
    queue: str = Field(examples=["messages"])
    task: str = Field(examples=["vtsync.send_message"])
    message_id: str = Field(description="The id that its sender gave it.", examples=["5f0e8d2a"])
    reason: str = Field(examples=["to is missing"])
    size: int = Field(description="Bytes.", examples=[312])
    first_at: datetime
    last_at: datetime
    times: int = Field(description="How often it came.", examples=[1])


class DeadLetterList(OperatingOut):
    """Dead letters, the latest first, with how many there are."""

    dead_letters: list[DeadLetterOut]
    letters: int = Field(description="How many; the `letters` of `POST /v1/dead-letters:clear`.", examples=[1])
    until: datetime | None = Field(description="When the latest came; the `until` of that request.")


class ClearLettersBody(OperatingBody):
    """Which dead letters to delete: those that the list showed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"letters": 1, "until": "2027-03-01T14:30:00Z"}]})

    letters: int = Field(
        ge=0,
        le=MOST_SHOWN,
        strict=True,
        description="How many `GET /v1/dead-letters` showed. If more match now, nothing is done (409).",
        examples=[1],
    )
    until: AwareDatetime | None = Field(
        None,
        description="Unless `letters` is 0: the `until` of the list. What came later, or again, stays.",
        examples=["2027-03-01T14:30:00Z"],
    )

    @model_validator(mode="after")
    def _names_what_was_shown(self) -> ClearLettersBody:
        if self.letters and self.until is None:
            raise FieldProblem("until", "is missing; give the until of GET /v1/dead-letters")
        return self


class ClearedLetters(OperatingOut):
    """How many dead letters were deleted."""

    deleted: int = Field(examples=[1])


class EventCountOut(OperatingOut):
    """The events of one source in one state."""

    source: str = Field(description="`relay` or `carrier`.", examples=["relay"])
    name: str = Field(description="The account of the Relay, or the name of the carrier.", examples=["main"])
    state: str = Field(examples=["failed"])
    count: int = Field(examples=[2])
    newest: datetime


class FailedEventOut(OperatingOut):
    """An event that could not be processed."""

    id: int = Field(examples=[17])
    source: str = Field(examples=["relay"])
    name: str = Field(examples=["main"])
    received_at: datetime
    detail: str = Field(description="What is wrong with it.", examples=["it has no phone number"])


class EventList(OperatingOut):
    """Failed events, newest first, with how many events are in each state."""

    events: list[FailedEventOut]
    failed: int = Field(description="How many failed; the `events` of `POST /v1/relay/events:retry`.", examples=[2])
    counts: list[EventCountOut]
    next: int | None = Field(description="The `before` of the next page; null on the last page.", examples=[None])


class RetryEventsBody(OperatingBody):
    """The failed events to process again: all that the list counted."""

    events: int = Field(
        ge=0,
        le=MOST_SHOWN,
        strict=True,
        description="The `failed` that `GET /v1/relay/events` showed. If more failed since, nothing is done (409).",
        examples=[2],
    )


class RetriedEvents(OperatingOut):
    """How many events are processed again."""

    retried: int = Field(examples=[2])

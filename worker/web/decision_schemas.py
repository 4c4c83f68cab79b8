"""The request bodies and answers of decisions about texts and replies."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from worker.messages.decisions import DecisionAboutMany, ReviewVerdict, Verdict
from worker.messages.request_problems import MESSAGE_ID_PATTERN, NO_NUL_PATTERN, FieldProblem
from worker.web.operating_schemas import EXAMPLE_BATCH, EXAMPLE_ID, MOST_IDS, MOST_SHOWN, OperatingBody, OperatingOut
from worker.web.schemas import MessageOut

MessageIds = Annotated[
    list[Annotated[str, Field(pattern=MESSAGE_ID_PATTERN)]],
    Field(min_length=1, max_length=MOST_IDS, description="Messages by their ids.", examples=[[EXAMPLE_ID]]),
]
TriggerName = Annotated[
    str | None,
    Field(max_length=200, pattern=NO_NUL_PATTERN, description="All that wait of this trigger.", examples=["ready"]),
]
BatchId = Annotated[
    str | None,
    Field(max_length=200, pattern=NO_NUL_PATTERN, description="All that wait of this batch.", examples=[EXAMPLE_BATCH]),
]


class DecideBody(OperatingBody):
    """The messages to decide about: `ids`, or all that wait of a `batch`, of a `trigger`, or of both."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"batch": EXAMPLE_BATCH, "texts": 12, "until": EXAMPLE_ID}]}
    )

    ids: MessageIds | None = None
    batch: BatchId = None
    trigger: TriggerName = None
    texts: int | None = Field(
        None,
        ge=0,
        le=MOST_SHOWN,
        strict=True,
        description="With `batch` or `trigger`: how many texts `GET /v1/messages:preview` showed. If more wait now,"
        " nothing is done (409).",
        examples=[12],
    )
    until: str | None = Field(
        None,
        pattern=MESSAGE_ID_PATTERN,
        description="With `texts`, unless they are 0: the `until` of the preview. Nothing newer is touched, so that"
        " repeating the request decides about nothing new.",
        examples=[EXAMPLE_ID],
    )

    @model_validator(mode="after")
    def _names_something(self) -> DecideBody:
        if self.ids is None and not self.batch and not self.trigger:
            raise FieldProblem("ids", "is missing; name ids, a batch or a trigger")
        if self.ids is not None and (self.batch or self.trigger or self.texts is not None or self.until):
            raise FieldProblem("ids", "excludes batch, trigger, texts and until; name ids or a batch or trigger")
        if self.ids is None and self.texts is None:
            raise FieldProblem("texts", "is missing; say how many texts GET /v1/messages:preview showed")
        if self.texts and self.until is None:
            raise FieldProblem("until", "is missing; give the until of GET /v1/messages:preview")
        return self


class IdsBody(OperatingBody):
    """Messages by their ids."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": [EXAMPLE_ID]}]})

    ids: MessageIds


class ResolveBody(OperatingBody):
    """How an unknown text ended, as somebody found it in the conversation."""

    verdict: Verdict = Field(
        description="`sent`: it is there. `resend`: it is not; send it again. `drop`: it is not, and is not wanted any"
        " more.",
        examples=["sent"],
    )
    attempts: int | None = Field(
        None,
        ge=0,
        description="The `attempts` of the text when you looked at the conversation; needed for `resend`. If another"
        " attempt was made since, nothing is done.",
        examples=[1],
    )

    @model_validator(mode="after")
    def _require_attempts(self) -> Self:
        if self.verdict == "resend" and self.attempts is None:
            raise ValueError("resend needs `attempts`: the number that the text had when you looked")
        return self


class ReviewBody(OperatingBody):
    """What a reply meant that may have meant STOP."""

    verdict: ReviewVerdict = Field(
        description="`continue`: the person did not mean STOP. `opt_out`: they did.", examples=["continue"]
    )
    last_at: AwareDatetime | None = Field(
        None,
        description="With `continue`: the `last_at` that `GET /v1/reviews` showed. If the person has written again"
        " since then, nothing is done (409).",
        examples=["2026-11-02T09:30:00Z"],
    )

    @model_validator(mode="after")
    def _names_what_was_read(self) -> ReviewBody:
        if self.verdict == "continue" and self.last_at is None:
            raise FieldProblem("last_at", "is missing; give the last_at of GET /v1/reviews")
        return self


class ApprovalOut(OperatingOut):
    """The texts of one trigger and one batch that wait for an approval."""

    account: str = Field(examples=["main"])
    batch: str | None = Field(description="The sync that made them.", examples=[EXAMPLE_BATCH])
    trigger: str | None = Field(examples=["ready"])
    texts: int = Field(examples=[12])
    people: int = Field(examples=[11])


class ApprovalList(OperatingOut):
    """What waits for an approval."""

    approvals: list[ApprovalOut]


class PreviewOut(OperatingOut):
    """What a decision about all messages of a batch or trigger would touch."""

    decision: DecisionAboutMany = Field(examples=["approve"])
    texts: int = Field(description="How many; the `texts` of the decision.", examples=[12])
    people: int = Field(description="How many numbers they go to.", examples=[11])
    until: str | None = Field(description="The newest of them; the `until` of the decision.", examples=[EXAMPLE_ID])
    messages: list[MessageOut] = Field(description="The newest of them, newest first.")


class DecidedOne(OperatingOut):
    """What became of one id: 200 if the decision holds, 404 or 409 with the reason otherwise."""

    id: str = Field(examples=[EXAMPLE_ID])
    status: int = Field(examples=[200])
    state: str | None = Field(description="Its state now.", examples=["queued"])
    detail: str = Field(description="Why nothing was done; empty if the decision holds.", examples=[""])


class DecidedOut(OperatingOut):
    """How many messages were changed. Repeating a decision changes none and does no harm."""

    decided: int = Field(examples=[12])
    outcomes: list[DecidedOne] = Field(description="One for each of `ids`, in their order.")


class ReviewOut(OperatingOut):
    """A number whose owner wrote something that may mean STOP. Its texts are held until somebody decides."""

    phone: str = Field(examples=["+14155552671"])
    since: datetime
    last_at: datetime = Field(description="When the newest such reply was noted. `continue` takes it.")
    excerpt: str = Field(description="What the person wrote last.", examples=["please stop it lol"])
    account: str = Field(description="To which account; empty: to several.", examples=["main"])


class ReviewList(OperatingOut):
    """The numbers under review, oldest first."""

    reviews: list[ReviewOut]


class ReviewedOut(OperatingOut):
    """A review that has ended."""

    phone: str = Field(examples=["+14155552671"])
    verdict: ReviewVerdict = Field(examples=["continue"])
    released: int = Field(description="Held texts that the policy decides about again.", examples=[1])
    opted_out: bool = Field(examples=[False])

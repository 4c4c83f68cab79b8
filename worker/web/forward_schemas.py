"""The request bodies and answers of ``/v1/forwards``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from worker.messages.request_problems import NO_NUL_PATTERN, FieldProblem
from worker.web.operating_schemas import LARGEST_ROW_ID, MOST_IDS, MOST_SHOWN, OperatingBody, OperatingOut


class RetryForwardsBody(OperatingBody):
    """The deliveries to repeat: `ids`, or all to a `target`, all that `failed`, or both."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"failed": True, "deliveries": 3}]})

    ids: (
        Annotated[
            list[Annotated[int, Field(ge=1, le=LARGEST_ROW_ID, strict=True)]],
            Field(min_length=1, max_length=MOST_IDS, description="Deliveries by their ids.", examples=[[17]]),
        ]
        | None
    ) = None
    target: str | None = Field(
        None,
        min_length=1,
        max_length=500,
        pattern=NO_NUL_PATTERN,
        description="All to this receiver; `*` at the end stands for anything.",
        examples=["subscriber:shop"],
    )
    failed: bool = Field(
        False, strict=True, description="Only those that were given up, not those that wait.", examples=[True]
    )
    deliveries: int | None = Field(
        None,
        ge=0,
        le=MOST_SHOWN,
        strict=True,
        description="With `target` or `failed`: how many `GET /v1/forwards` counted. If more match now, nothing is done"
        " (409).",
        examples=[3],
    )

    @model_validator(mode="after")
    def _names_something(self) -> RetryForwardsBody:
        if self.ids is None and not self.target and not self.failed:
            raise FieldProblem("ids", "is missing; name ids or a target, or set failed to true")
        if self.ids is not None and (self.target or self.failed or self.deliveries is not None):
            raise FieldProblem("ids", "excludes target, failed and deliveries")
        if self.ids is None and self.deliveries is None:
            raise FieldProblem("deliveries", "is missing; say how many GET /v1/forwards counted")
        return self


class ForwardOut(OperatingOut):
    """One event on its way to a CRM record or a service."""

    id: int = Field(examples=[17])
    target: str = Field(examples=["subscriber:shop"])
    type: str = Field(examples=["message.received"])
    state: str = Field(description="`due`, `sending`, `done` or `failed` (given up).", examples=["failed"])
    attempts: int = Field(examples=[8])
    created_at: datetime
    due_at: datetime
    last_error: str = Field(examples=["HTTP 500"])


class ForwardList(OperatingOut):
    """Deliveries, newest first, with how many of the target can be repeated."""

    forwards: list[ForwardOut]
    failed: int = Field(description="How many were given up.", examples=[3])
    due: int = Field(description="How many wait for an attempt.", examples=[0])
    next: int | None = Field(description="The `before` of the next page; null on the last page.", examples=[None])


class RetriedForward(OperatingOut):
    """What became of one id: 200 if it is repeated, 404 or 409 with the reason otherwise."""

    id: int = Field(examples=[17])
    status: int = Field(examples=[200])
    state: str | None = Field(description="Its state now.", examples=["due"])
    detail: str = Field(description="Why it is not repeated; empty if it is.", examples=[""])


class RetriedForwards(OperatingOut):
    """How many deliveries are repeated."""

    retried: int = Field(examples=[3])
    outcomes: list[RetriedForward] = Field(description="One for each of `ids`, in their order.")

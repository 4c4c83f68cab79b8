"""The request bodies and answers of decisions about contacts: refused and lost ones, and the first link-up."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self, TypeAlias

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from worker.contacts.remote_list import LONGEST_ID
from worker.messages.request_problems import NOT_BLANK_PATTERN, FieldProblem
from worker.messages.requests import PhoneNumber
from worker.web.operating_schemas import LARGEST_ROW_ID, MOST_SHOWN, OperatingBody, OperatingOut
from worker.web.schemas import OptionalAccount

ContactVerdict: TypeAlias = Literal["found", "create"]


class StuckContactOut(OperatingOut):
    """A contact and its last attempt."""

    id: int = Field(examples=[1042])
    account: str = Field(examples=["main"])
    phone: str = Field(examples=["+14155552671"])
    full_name: str = Field(examples=["Ada Lovelace"])
    state: str = Field(examples=["unknown"])
    error: str = Field(description="Why it is in this state.", examples=["no response"])
    attempts: int = Field(examples=[1])
    attempted_at: datetime | None = Field(description="When the last attempt was made. `create` takes it.")
    next_attempt_at: datetime | None = Field(
        description="When it is tried again; null: a change, a look-up or a person must come first."
    )


class StuckContactList(OperatingOut):
    """Contacts in one state, with how many can be retried."""

    contacts: list[StuckContactOut]
    retryable: int = Field(
        description="How many contacts `POST /v1/contacts:retry` would try again: those that VirtualText refused, and"
        " those that wait for their next attempt. The `contacts` of that request.",
        examples=[3],
    )
    next: int | None = Field(
        description="The `after` of the next page; null on the last page.", le=LARGEST_ROW_ID, examples=[None]
    )


class RetryContactsBody(OperatingBody):
    """The contacts to try again: those with a `phone`, or all of an `account`, or all that the key may use."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"contacts": 3}]})

    account: str | None = Field(None, description="Only contacts of this account.", examples=["main"])
    phone: PhoneNumber | None = Field(None, description="Only contacts with this number.", examples=["+14155552671"])
    contacts: int | None = Field(
        None,
        ge=0,
        le=MOST_SHOWN,
        strict=True,
        description="Without `phone`: the `retryable` that `GET /v1/contacts` showed. If more match now, nothing is"
        " done (409).",
        examples=[3],
    )

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.phone is None and self.contacts is None:
            raise FieldProblem("contacts", "is missing; give the retryable of GET /v1/contacts")
        return self


class RetriedContacts(OperatingOut):
    """How many contacts are tried again."""

    retried: int = Field(examples=[3])


class ResolveContactBody(OperatingBody):
    """How a create ended whose response was lost, or what to do about a contact whose updates fail."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"verdict": "create", "attempted_at": "2027-03-01T14:30:00Z"}]}
    )

    account: OptionalAccount = None
    verdict: ContactVerdict = Field(
        description="`found`: it is in VirtualText, as `virtualtext_id`. `create`: create it, unless VirtualText's"
        " contact list has it.",
        examples=["create"],
    )
    virtualtext_id: str | None = Field(
        None,
        max_length=LONGEST_ID,
        pattern=NOT_BLANK_PATTERN,
        description="With `found`: its id in VirtualText.",
        examples=["5512"],
    )
    attempted_at: AwareDatetime | None = Field(
        None,
        description="Needed for `create`: the `attempted_at` that `GET /v1/contacts` showed, also if it was null. If"
        " another attempt was made since, nothing is done (409).",
        examples=["2027-03-01T14:30:00Z"],
    )
    without_list: bool = Field(
        False,
        strict=True,
        description="With `create`: do not ask for the list, as it cannot be read. If VirtualText has the contact"
        " already, it will be there twice.",
        examples=[False],
    )

    @model_validator(mode="after")
    def _names_what_was_read(self) -> Self:
        if self.verdict == "found" and self.virtualtext_id is None:
            raise FieldProblem("virtualtext_id", "is missing; give the id that VirtualText shows")
        if self.verdict == "create" and self.virtualtext_id is not None:
            raise FieldProblem("virtualtext_id", "belongs to the verdict found; create makes a new contact")
        if self.verdict == "found" and self.without_list:
            raise FieldProblem("without_list", "belongs to the verdict create")
        if self.verdict == "create" and "attempted_at" not in self.model_fields_set:
            raise FieldProblem("attempted_at", "is missing; give the attempted_at of GET /v1/contacts")
        return self


class ResolvedContactOut(OperatingOut):
    """A contact that is resolved."""

    phone: str = Field(examples=["+14155552671"])
    account: str = Field(examples=["main"])
    verdict: ContactVerdict = Field(examples=["create"])
    state: str = Field(description="Its state now.", examples=["due"])
    adopted_as: str | None = Field(
        description="With `create`: the id under which VirtualText's list has it, so that it is not created again.",
        examples=[None],
    )


class LinkOut(OperatingOut):
    """How an account was linked for the first time, and how many contacts wait to be created."""

    account: str = Field(examples=["main"])
    linked: bool = Field(examples=[False])
    waiting: int = Field(description="The `contacts` of `POST /v1/accounts/{name}/link`.", examples=[1040])
    how: str = Field(
        description="`list`, `file`, `without list`, or `contacts`: it has created some. Empty: it is not linked.",
        examples=[""],
    )
    at: datetime | None = Field(description="When it was linked, if that is known.")
    by: str = Field(description="Who decided it.", examples=[""])


class LinkBody(OperatingBody):
    """Create every contact without VirtualText's list, also those that VirtualText may have already."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"without_list": True, "contacts": 1040}]})

    without_list: Literal[True] = Field(description="As `vtsync link ACCOUNT --without-list`.", examples=[True])
    contacts: int = Field(
        ge=0,
        le=MOST_SHOWN,
        strict=True,
        description="The `waiting` that `GET /v1/accounts/{name}/link` showed. If more wait, nothing is done (409).",
        examples=[1040],
    )


class LinkedOut(OperatingOut):
    """An account that is linked."""

    account: str = Field(examples=["main"])
    changed: bool = Field(description="False: it was linked before, and nothing was done.", examples=[True])
    created: int = Field(description="How many contacts will be created.", examples=[1040])

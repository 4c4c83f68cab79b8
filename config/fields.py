"""The `[connections.<name>.fields]` table: how a connection maps its CRM's fields to a contact."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from config.types import one_or_many

Names: TypeAlias = Annotated[tuple[str, ...], one_or_many()]


class FieldMapping(BaseModel):
    """Which CRM fields hold what. Fields that are not set are found by their usual names."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    phone: Names = Field(
        default=(),
        description="Fields with the phone number, best first.",
        examples=["mobile", ["mobile", "phone"]],
    )
    full_name: Names = Field(
        default=(),
        description="Fields whose values, joined by a space, are the full name.",
        examples=["name", ["first_name", "last_name"]],
    )
    email: Names = Field(default=(), description="Fields with the email address, best first.", examples=["email"])
    time_zone: Names = Field(
        default=(),
        description="Fields with the person's time zone (IANA name), best first.",
        examples=["timezone"],
    )
    state: Names = Field(
        default=(), description="Fields with the US state, best first.", examples=["state", "billing_state"]
    )
    postal_code: Names = Field(default=(), description="Fields with the US ZIP code, best first.", examples=["zip"])
    owner: Names = Field(default=(), description="Fields with the owner of the record, best first.", examples=["owner"])

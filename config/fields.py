"""The `[connections.<name>.fields]` table: how a connection maps its CRM's fields to a contact.

An entry is the name of a field, or, for ``EXPRESSIONS``, a template over the record such as
``+{{ calling_code }}{{ phone }}``.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from config.types import one_or_many

Names: TypeAlias = Annotated[tuple[str, ...], one_or_many()]


EXPRESSIONS = ("phone", "full_name", "email")
"""The keys whose entries may be expressions."""


def is_expression(entry: str) -> bool:
    """Return True if an entry is a template over the record, not the name of a field."""
    return "{{" in entry or "{%" in entry


class FieldMapping(BaseModel):
    """Which CRM fields hold what. Fields that are not set are found by their usual names."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    phone: Names = Field(
        default=(),
        description="Fields with the phone number, best first; or an expression that joins fields.",
        examples=["mobile", ["mobile", "phone"], "+{{ calling_code }}{{ phone }}"],
    )
    full_name: Names = Field(
        default=(),
        description="Fields whose values, joined by a space, are the full name; or an expression.",
        examples=["name", ["first_name", "last_name"]],
    )
    email: Names = Field(
        default=(), description="Fields with the email address, best first; or an expression.", examples=["email"]
    )
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
    country: Names = Field(
        default=(),
        description="Fields with the person's country (a name, or a code such as DE), best first. "
        "It comes before `default_region`. If not set: a field called Country.",
        examples=["country"],
    )

    def or_else(self, other: FieldMapping) -> FieldMapping:
        """Return this mapping, with the fields of ``other`` where this one names none."""
        mine = {name: names for name in type(self).model_fields if (names := getattr(self, name))}
        return other.model_copy(update=mine) if mine else other

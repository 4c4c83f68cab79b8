"""How a connection maps its CRM's fields to a contact."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_list)]


class FieldMapping(BaseModel):
    """Which CRM fields hold what. Anything left out is found by the adapter's usual names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phone: Names = Field(default=(), description="Fields that hold the phone number, best first.")
    full_name: Names = Field(default=(), description="Fields whose values, joined by a space, are the full name.")
    email: Names = Field(default=(), description="Fields that hold the email address, best first.")

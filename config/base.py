"""What all tables of the configuration share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Base: immutable, an unknown key is an error, and validation errors never quote what was given."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

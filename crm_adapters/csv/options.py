"""The options of the CSV adapter."""

from __future__ import annotations

import codecs
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from config.types import ConfigPath, one_or_many


class CsvOptions(BaseModel):
    """Where the export is and how it is written."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    path: Annotated[tuple[ConfigPath, ...], one_or_many()] = Field(
        min_length=1,
        description="The export: a file (also .gz), a pattern such as `exports/*.csv`, a folder, or a list of these. "
        "Together they list every contact; a contact that is no longer in any of them counts as deleted.",
        examples=["contacts.csv", ["north.csv", "south.csv"]],
    )
    delimiter: str | None = Field(
        None,
        min_length=1,
        max_length=1,
        pattern=r'^[^\r\n"\w]$',
        description="The character between cells. If not set: comma, semicolon, tab or |, as the first lines show.",
        examples=[";"],
    )
    encoding: str | None = Field(
        None,
        description="The character encoding, such as `utf-8` or `cp1252`. If not set: detected from the file.",
        examples=["cp1252"],
    )
    id: Annotated[tuple[str, ...], one_or_many()] = Field(
        (),
        description="The column (or columns, together) that identify a record permanently. If not set: `Record ID`, "
        "`Contact ID`, `Id` and similar names; without such a column the email address, or else the phone.",
        examples=["Record ID", ["shop", "customer_no"]],
    )
    settle_seconds: float = Field(
        2.0,
        ge=0,
        le=86_400,
        description="Do not read a file yet that changed less than this many seconds ago: it may not be complete.",
    )

    @field_validator("encoding")
    @classmethod
    def _is_text_encoding(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                "\n".encode(codecs.lookup(value).name)
            except (LookupError, ValueError) as error:
                raise ValueError('is not a character encoding; write one such as "utf-8" or "cp1252"') from error
        return value

"""The options of the CSV adapter."""

from __future__ import annotations

import codecs
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from config.types import ConfigPath, one_or_many


class CsvOptions(BaseModel):
    """Where the export is and how it is written."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    path: Annotated[tuple[ConfigPath, ...], one_or_many()] = Field(
        min_length=1,
        description="The export: a file (also .gz or .xlsx), a pattern such as `exports/*.csv`, a folder, or a list of "
        "these. Together they list every contact; a contact that is no longer in any of them counts as deleted.",
        examples=["contacts.csv", ["north.csv", "south.csv"]],
    )
    files: Literal["newest", "together"] | None = Field(
        None,
        description="How to read files of one pattern or folder whose names differ only in a date or number: as "
        "versions of one export, of which only the `newest` counts, or as its parts, which count `together`. If not "
        "set: an older file that lists mostly the same people as a newer one is a version.",
        examples=["newest"],
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
        description="The character encoding, such as `utf-8` or `cp1252`. If not set: detected from the file, and "
        "guessed if it is neither UTF-8 nor UTF-16. `vtsync check` shows a guess.",
        examples=["cp1252"],
    )
    id: Annotated[tuple[str, ...], one_or_many()] = Field(
        (),
        description="The column (or columns, together) that identify a record permanently. If not set: `Record ID`, "
        "`Contact ID`, `Id` and similar names; without such a column the email address, or else the phone. A row "
        "without an id of its own (empty, `0`, or one that different people share) is identified by email address and "
        "name, or else by phone.",
        examples=["Record ID", ["shop", "customer_no"]],
    )
    deleted: str | Literal[False] | None = Field(
        None,
        description="The column that marks a row as deleted: a flag, or the time of deletion. Such rows count as "
        "deleted. If not set: `IsDeleted`, `deleted_at`, `Archived` and similar names, if their values are a yes or "
        "no, or a time. `false`: there is none.",
        examples=["IsDeleted"],
    )
    sheet: str | None = Field(
        None, description="The sheet of an Excel workbook. If not set: the first one.", examples=["Contacts"]
    )
    short_last_row: bool = Field(
        False,
        description="Read a last row that has fewer cells than the header and no line end. Only for a program that "
        "leaves out empty cells there: otherwise such a row shows that the file is not complete.",
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

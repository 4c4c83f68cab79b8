"""The options of the SQL adapter."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from config.types import DatabaseUrl, Duration, one_or_many
from crm_adapters.sql.write import LogColumn


class SqlOptions(BaseModel):
    """Which database and rows to read, and how changes are recognised."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: DatabaseUrl = Field(
        description="The SQLAlchemy URL. Write it as a reference if it holds a password.",
        examples=[{"env": "CRM_DATABASE_URL"}],
    )
    table: str | None = Field(None, min_length=1, description="The table or view, as `name` or `schema.name`.")
    query: str | None = Field(
        None,
        min_length=1,
        description="Instead of a table: a SELECT whose columns are the contact's fields.",
        examples=["SELECT c.id, c.name, c.mobile, c.changed FROM customers c JOIN consents USING (id)"],
    )
    key: Annotated[tuple[str, ...], one_or_many()] = Field(
        (), description="The column (or columns, together) that identify a row. If not set: the table's primary key."
    )
    updated_at: str | None = Field(
        None, description="The column with the time of change. If not set: every run reads every row."
    )
    deleted: str | None = Field(
        None, description="The column that marks a row as deleted: a flag, or the time of deletion."
    )
    columns: tuple[str, ...] = Field(
        (), description="Read only these columns, the columns named above, and those that the configuration uses."
    )
    overlap: Duration = Field(
        timedelta(minutes=5), description="How late a change may be committed so that the next run still sees it."
    )
    page_size: int = Field(1000, ge=1, le=10_000, description="Rows per statement.")
    timezone: str = Field("UTC", description="The time zone of times that are stored without one.")
    log_table: str | None = Field(
        None,
        min_length=1,
        description=(
            "For log_messages: the table that texts are written to. It has the columns message_id (unique), record_id,"
            " direction, sent_at, text, media, from_number and to_number."
        ),
    )
    log_columns: dict[LogColumn, str] = Field(
        default_factory=dict,
        description="If columns of log_table have other names: maps the names above to them.",
        examples=[{"record_id": "customer_id", "text": "body"}],
    )

    @model_validator(mode="after")
    def _one_source(self) -> SqlOptions:
        if (self.table is None) == (self.query is None):
            raise ValueError("name either a table or a query")
        if self.query is not None and not self.key:
            raise ValueError("a query needs key: the column that identifies a row")
        return self

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError('is not a time zone, such as "America/New_York"') from None
        return value

"""The `[triggers.<name>]` tables."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool

from config.base import Model
from config.types import E164, Duration, Hour, HttpUrl, Offset, one_or_many


class Trigger(Model):
    """A text that is sent when something changes in the CRM."""

    connections: Annotated[tuple[str, ...], one_or_many()] = Field(
        description="Names of the connections to watch.", examples=["crm", ["crm", "shop"]]
    )
    on: Literal["created", "changed", "entered", "date"] = Field(
        description=(
            "When to send: for a new record, when a field changes, when a record begins to meet `condition`,"
            " or at a time relative to a date field."
        ),
        examples=["changed"],
    )
    field: str | None = Field(
        None,
        description="For `changed` and `date`, which require it: the CRM field to watch.",
        examples=["status"],
    )
    condition: str | None = Field(
        None,
        description="For `entered`, which requires it: a Liquid condition over the record's fields.",
        examples=["status == 'ready' and balance > 0"],
    )
    offset: Offset | None = Field(
        None, description="For `date`: how long before (-) or after the field's time.", examples=["-24h"]
    )
    at: Hour | None = Field(
        None, description="For `date`: the local time of day, applied after `offset`.", examples=["10:00"]
    )
    every_year: StrictBool = Field(False, description="For `date`: every year on that day, as for birthdays.")
    again: Literal["always", "never"] | Duration = Field(
        "always",
        description="Send this text to the same record again: `always`, `never`, or only after this duration.",
        examples=["never", "30d"],
    )
    delay: Duration | None = Field(None, description="Wait this long before sending.", examples=["2h"])
    only_if: str | None = Field(
        None,
        description="A Liquid condition. It must hold when the trigger fires and again when the text is sent.",
        examples=["status != 'cancelled'"],
    )
    urgent: StrictBool = Field(
        False,
        description="Send even in quiet hours. Use it only for texts that the person is waiting for right now.",
    )
    from_value: str | None = Field(
        None, alias="from", description="For `changed`: only from this value.", examples=["Ordered"]
    )
    to_value: str | None = Field(None, alias="to", description="For `changed`: only to this value.", examples=["Ready"])
    message: str = Field(
        description="The text: a Liquid template over the CRM record's fields.",
        examples=["Hi {{ first_name }}, your order is ready."],
    )
    media: Annotated[tuple[HttpUrl, ...], one_or_many()] = Field(
        (), description="Public URLs of pictures to send.", examples=["https://example.com/map.png"]
    )
    from_number: E164 | None = Field(
        None, description="Send from this number instead of the account's.", examples=["+14155550101"]
    )
    expires_after: Duration | None = Field(
        None, description="Do not send the text later than this after the change.", examples=["4h"]
    )
    enabled: StrictBool = Field(True, description="`false`: the trigger sends nothing.")

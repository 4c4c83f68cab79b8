"""The `[triggers.<name>]` tables: one model per kind. ``worker.triggers.kinds`` has a class for each model."""

from __future__ import annotations

import re
from abc import abstractmethod
from datetime import timedelta
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, StrictBool, ValidationInfo, field_validator

from config.base import Model
from config.policy import PolicyOverride
from config.types import E164, Duration, Hour, Offset, PublicUrl, invalid_value, one_or_many, readable_duration


def _not_empty(text: str) -> str:
    if not text.strip():
        raise invalid_value("is an empty text", "write the text to send")
    return text


def _kind_of_record(text: str) -> str:
    if not re.fullmatch("[a-z][a-z0-9_]*", text):
        raise invalid_value("is not a kind of record", "write a name in small letters, such as contact or deal")
    return text


class TriggerOptions(Model):
    """A text that is sent when something changes in the CRM."""

    connections: Annotated[tuple[str, ...], one_or_many()] = Field(
        description="Names of the connections to watch.", examples=["crm", ["crm", "shop"]]
    )
    on: str
    record: Annotated[str, AfterValidator(_kind_of_record)] = Field(
        "contact",
        description="The kind of record to watch: `contact`, or something that belongs to a person, such as `deal`.",
        examples=["deal"],
    )
    message: Annotated[str, AfterValidator(_not_empty)] = Field(
        description="The text: a Liquid template over the CRM record's fields.",
        examples=["Hi {{ first_name }}, your order is ready."],
    )
    only_if: str | None = Field(
        None,
        description=(
            "A Liquid condition over the record's fields and the `conversation`. It must hold when the trigger fires"
            " and again when the text is sent."
        ),
        examples=["status != 'cancelled'"],
    )
    again: Literal["always", "never"] | Duration = Field(
        "always",
        description="Send this text to the same record again: `always`, `never`, or only after this duration.",
        examples=["never", "30d"],
    )
    delay: Duration | None = Field(None, description="Wait this long before sending.", examples=["2h"])
    stop_on_reply: StrictBool = Field(
        False,
        description=(
            "Do not send the text if the person has written since the trigger fired, or since the first text of its"
            " sequence."
        ),
    )
    expires_after: Duration | None = Field(
        None, description="Do not send the text later than this after the change.", examples=["4h"]
    )
    urgent: StrictBool = Field(
        False,
        description="Send even in quiet hours. Use it only for texts that the person is waiting for right now.",
    )
    media: Annotated[tuple[PublicUrl, ...], one_or_many()] = Field(
        (), description="Public URLs of pictures to send.", examples=["https://example.com/map.png"]
    )
    from_number: E164 | None = Field(
        None, description="Send from this number instead of the account's.", examples=["+14155550101"]
    )
    policy: PolicyOverride | None = Field(
        None, description="Keys of `[policy]` that are different for this trigger's texts. See [policy.md](policy.md)."
    )
    enabled: StrictBool = Field(True, description="`false`: the trigger sends nothing.")

    @property
    @abstractmethod
    def event(self) -> str:
        """Return what sets it off, as words that continue "each record"."""

    @property
    def when(self) -> str:
        """Return when it fires, in one sentence for a person, with code between backquotes."""
        record = "record" if self.record == "contact" else self.record
        parts = [f"It texts about each {record} of {', '.join(self.connections)} {self.event}"]
        parts += [f"if `{self.only_if}` holds"] if self.only_if else []
        parts += [f"{readable_duration(self.delay)} later"] if self.delay else []
        return ", ".join(parts)


class CreatedTrigger(TriggerOptions):
    """A trigger for new records."""

    on: Literal["created"] = Field(description="A new record.", examples=["created"])

    @property
    def event(self) -> str:
        """Return what sets it off."""
        return "that is new"


class ChangedTrigger(TriggerOptions):
    """A trigger for a field whose value changes."""

    on: Literal["changed"] = Field(description="A field whose value changes.", examples=["changed"])
    field: str = Field(description="The CRM field to watch.", examples=["status"])
    from_value: str | None = Field(None, alias="from", description="Only from this value.", examples=["Ordered"])
    to_value: str | None = Field(None, alias="to", description="Only to this value.", examples=["Ready"])

    @property
    def event(self) -> str:
        """Return what sets it off."""
        values = (("from", self.from_value), ("to", self.to_value))
        limits = (f" {word} {f'`{value}`' if value else 'empty'}" for word, value in values if value is not None)
        return f"whose field `{self.field}` changes{''.join(limits)}"

    @field_validator("to_value")
    @classmethod
    def _another_value(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and value == info.data.get("from_value"):
            raise invalid_value(
                'is the same as "from", so the trigger would never fire',
                "write another value, or leave one of them out",
            )
        return value


class EnteredTrigger(TriggerOptions):
    """A trigger for records that begin to meet a condition."""

    on: Literal["entered"] = Field(description="A record that begins to meet `condition`.", examples=["entered"])
    condition: str = Field(
        description="A Liquid condition over the record's fields.", examples=["status == 'ready' and balance > 0"]
    )

    @property
    def event(self) -> str:
        """Return what sets it off."""
        return f"that begins to meet `{self.condition}`"


class DateTrigger(TriggerOptions):
    """A trigger for a time relative to a date of the record."""

    on: Literal["date"] = Field(description="A time relative to the date in `field`.", examples=["date"])
    field: str = Field(description="The CRM field with the date.", examples=["appointment"])
    offset: Offset | None = Field(
        None, description="How long before (-) or after (+) the field's time.", examples=["-24h"]
    )
    at: Hour | None = Field(None, description="The local time of day, applied after `offset`.", examples=["10:00"])
    every_year: StrictBool = Field(False, description="Every year on that day, as for birthdays.")

    @property
    def event(self) -> str:
        """Return what sets it off."""
        side = "before" if self.offset is not None and self.offset < timedelta(0) else "after"
        away = f"{readable_duration(abs(self.offset))} {side} " if self.offset else ""
        hour = f", at {self.at:%H:%M}" if self.at is not None else ""
        return (
            f"{away}{'' if away else 'at '}the date in `{self.field}`{', every year' if self.every_year else ''}{hour}"
        )


Trigger: TypeAlias = Annotated[
    CreatedTrigger | ChangedTrigger | EnteredTrigger | DateTrigger, Field(discriminator="on")
]
"""Any trigger of the configuration file; ``on`` names its kind."""

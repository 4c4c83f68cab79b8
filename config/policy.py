"""The `[policy]` table, and the tables that replace keys of it for an account, a connection or a trigger."""

from __future__ import annotations

from datetime import time, timedelta
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, StrictFloat, StrictInt

from config.base import Model
from config.types import Duration, Holidays, Hour, Region, one_or_many


class Policy(Model):
    """Rules that protect people from unwanted texts."""

    blast_limit: StrictInt = Field(
        25,
        ge=0,
        le=1_000_000,
        description=(
            "When one sync, or one trigger in 24 hours, would text more people than this, the texts wait for approval."
        ),
    )
    expires_after: Duration = Field(
        timedelta(hours=24),
        description="Drop a text that has not been sent by then. A trigger or a job may set its own limit.",
    )
    countries: Annotated[tuple[Region, ...], one_or_many()] | None = Field(
        None,
        description=(
            "Send texts only to numbers of these countries. If not set: countries with the calling code +1, and the"
            " country of the account's own number."
        ),
        examples=[["US", "CA", "MX"]],
    )
    quiet_hours: Literal["us", "none"] = Field(
        "us",
        description=(
            "`us`: send only in the hours below, and never in hours that the law of the recipient's state forbids."
            " `none`: send at any hour."
        ),
    )
    text_from: Hour = Field(time(9), description="Send no text before this time of the recipient's day.")
    text_until: Hour = Field(time(20), description="Send no text at or after this time of the recipient's day.")
    sunday_from: Hour = Field(time(12), description="On Sundays, send no text before this time of the recipient's day.")
    holidays: Holidays = Field(
        (),
        description=(
            "Send no text on these days: the public holidays of a country, for people who may be there, and dates of"
            ' your own. `"none"`: only the days on which the law of the recipient\'s state forbids texts.'
        ),
        examples=["us", ["us", "ca", "12-24", "2027-01-02"]],
    )
    release_jitter: Duration = Field(
        timedelta(minutes=15), description="Spread texts that waited for the end of quiet hours over this period."
    )
    max_per_contact: StrictInt | None = Field(
        10, ge=1, le=1000, description="At most this many texts to one number in 24 hours. Further texts wait."
    )
    max_per_account: StrictInt | None = Field(
        None, ge=1, le=10_000_000, description="At most this many texts of one account in 24 hours. Further texts wait."
    )
    consent: Literal["crm", "required"] = Field(
        "crm",
        description=(
            "`crm`: ask the CRMs whose connection names a `consent` field. `required`: text nobody without a consent on"
            " record: a yes of such a field, START, `vtsync opt-in`, or `vtsync consents import`."
        ),
    )
    duplicate_window: Duration = Field(
        timedelta(hours=1), description="Do not send the same text to the same number again within this period."
    )
    breaker_factor: StrictFloat = Field(
        5.0,
        ge=1,
        le=1000,
        description=(
            "Hold a trigger for approval when it makes more than this many times the texts of its busiest earlier day."
        ),
    )
    breaker_floor: StrictInt = Field(
        20, ge=1, le=1_000_000, description="Never hold a trigger that made at most this many texts in 24 hours."
    )

    _tables: dict[str, str] = PrivateAttr(default_factory=dict)
    """The table that each replaced key comes from."""

    def setting(self, key: str) -> str:
        """Return the full name of the setting that decides ``key``: ``triggers.birthday.policy.max_per_contact``."""
        return f"{self._tables.get(key, 'policy')}.{key}"

    def is_own_of_trigger(self, key: str) -> bool:
        """Return True if the trigger's own table decides ``key``."""
        return self._tables.get(key, "").startswith("triggers.")

    def replaced(self, by: Policy, table: str) -> Policy:
        """Return this policy with the keys that are written in ``by``, the table of that name."""
        keys = by.model_fields_set
        merged = self.model_copy(update={key: getattr(by, key) for key in keys})
        merged._tables = self._tables | dict.fromkeys(keys, table)
        return merged


class PolicyOverride(Policy):
    """Keys of `[policy]` that are different here. Keys that are not written are taken from the level above."""

"""The `[policy]` table."""

from __future__ import annotations

from datetime import time, timedelta
from typing import Literal

from pydantic import Field, StrictFloat, StrictInt

from config.base import Model
from config.types import Duration, Hour


class Policy(Model):
    """What keeps people from being texted by surprise."""

    blast_limit: StrictInt = Field(
        25,
        ge=0,
        le=1_000_000,
        description="When one sync would text more people than this, every text waits for approval.",
    )
    expires_after: Duration = Field(
        timedelta(hours=24), description="A text not sent by then is dropped, unless its trigger or job says otherwise."
    )
    quiet_hours: Literal["us", "none"] = Field(
        "us",
        description=(
            "`us`: only in the hours below, and never in what a state of the recipient forbids. `none`: at any hour."
        ),
    )
    text_from: Hour = Field(time(9), description="No text before this hour of the recipient's day.")
    text_until: Hour = Field(time(20), description="No text from this hour of the recipient's day on.")
    sunday_from: Hour = Field(time(12), description="No text before this hour of a recipient's Sunday.")
    release_jitter: Duration = Field(
        timedelta(minutes=15), description="Texts that waited for an hour are spread over this long."
    )
    max_per_contact: StrictInt | None = Field(
        10, ge=1, le=1000, description="At most this many texts to one number in 24 hours. Further ones wait."
    )
    max_per_account: StrictInt | None = Field(
        None, ge=1, le=10_000_000, description="At most this many texts of one account in 24 hours. Further ones wait."
    )
    duplicate_window: Duration = Field(
        timedelta(hours=1), description="The same text to the same number is not sent again within this long."
    )
    breaker_factor: StrictFloat = Field(
        5.0,
        ge=1,
        le=1000,
        description="A trigger that fires more than this many times its busiest earlier day is held for approval.",
    )
    breaker_floor: StrictInt = Field(
        20, ge=1, le=1_000_000, description="No trigger is held for fewer texts in 24 hours than this."
    )

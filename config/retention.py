"""The `[retention]` table."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field

from config.base import Model
from config.types import Keep, readable_duration, refusal


def _at_least(shortest: timedelta) -> AfterValidator:
    def long_enough(value: timedelta | None) -> timedelta | None:
        if value is None or value >= shortest:
            return value
        allowed = readable_duration(shortest)
        raise refusal(f"is shorter than {allowed}", f'write at least "{allowed}", or "keep" for ever')

    return AfterValidator(long_enough)


# What the breaker, the caps, the echoes and the callers' own retries look back at is younger than this.
KeepMonth: TypeAlias = Annotated[Keep, _at_least(timedelta(days=30))]
KeepWeek: TypeAlias = Annotated[Keep, _at_least(timedelta(days=7))]


class Retention(Model):
    """How long what is over is kept. `"keep"`: for ever. Nothing that is needed against a second text ever goes."""

    texts: KeepMonth = Field(
        timedelta(days=400),
        description="Words and pictures of texts that are over, and replies. After that only the fact remains.",
    )
    keys: KeepMonth = Field(
        timedelta(days=400),
        description=(
            "Jobs of services and records of carriers, with their idempotency keys: a job repeated within this long"
            " is still known. Texts of triggers are known for ever."
        ),
    )
    history: KeepMonth = Field(
        timedelta(days=400), description="What happened when to texts and contacts, for `vtsync explain`."
    )
    events: KeepWeek = Field(
        timedelta(days=30), description="Events of the Relay and of carriers, and deliveries, that are worked off."
    )
    runs: KeepWeek = Field(timedelta(days=90), description="Sync runs; the last one of each connection stays.")

"""The `[retention]` table."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field

from config.base import Model
from config.types import Keep, invalid_value, readable_duration


def _at_least(shortest: timedelta) -> AfterValidator:
    def long_enough(value: timedelta | None) -> timedelta | None:
        if value is None or value >= shortest:
            return value
        allowed = readable_duration(shortest)
        raise invalid_value(f"is shorter than {allowed}", f'write at least "{allowed}", or "keep" to keep it forever')

    return AfterValidator(long_enough)


# The breaker, the caps, echo matching and the callers' own retries need less history than this.
KeepMonth: TypeAlias = Annotated[Keep, _at_least(timedelta(days=30))]
KeepWeek: TypeAlias = Annotated[Keep, _at_least(timedelta(days=7))]


class Retention(Model):
    """How long finished data is kept; `"keep"` means forever. Data that prevents a duplicate text is never deleted."""

    texts: KeepMonth = Field(
        timedelta(days=400),
        description="Content of finished texts and of replies. After that, only the fact that they existed remains.",
    )
    keys: KeepMonth = Field(
        timedelta(days=400),
        description=(
            "Jobs of other services and records of carriers, with their idempotency keys: a job repeated within this"
            " long is recognised. Texts of triggers are recognised forever."
        ),
    )
    history: KeepMonth = Field(
        timedelta(days=400),
        description=(
            "History of texts, contacts and CRM records, for `vtsync explain` and `vtsync triggers backtest`, and the"
            " audit trail of the pages."
        ),
    )
    events: KeepWeek = Field(
        timedelta(days=30),
        description=(
            "Finished events of the Relay and of carriers, finished deliveries, alerts that ended, and what"
            " `vtsync dead-letters` lists."
        ),
    )
    contacts: KeepMonth = Field(
        None,
        description=(
            "Contacts that every CRM has deleted, and the copies of deleted CRM records. If not set, they are kept."
            " Texts, opt-outs and consents are kept as before, and so is what prevents a second text. VirtualText keeps"
            " the contact."
        ),
        examples=[timedelta(days=400)],
    )
    runs: KeepWeek = Field(timedelta(days=90), description="Sync runs. The last run of each connection is always kept.")

"""What can be switched while it runs: where accounts differ, or where the platform was seen to do a thing sometimes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Switches(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    def restore(self) -> None:
        """Every switch as it is by default."""
        self.switch(type(self)().model_dump())

    def switch(self, values: Mapping[str, Any]) -> None:
        """Set the named switches, all of them or none. Raises pydantic's ValidationError."""
        given = {**self.model_dump(), **values}
        for name in given:
            if isinstance(group := getattr(self, name, None), _Switches) and isinstance(given[name], Mapping):
                given[name] = {**group.model_dump(), **given[name]}
        wanted = type(self).model_validate(given)
        for name in values:
            if isinstance(group := getattr(self, name), _Switches):
                group.switch(getattr(wanted, name).model_dump())
            else:
                setattr(self, name, getattr(wanted, name))


class RelaySwitches(_Switches):
    """How messages are announced to the webhook."""

    shape: Literal["flat", "wrapped", "both"] = Field(
        "flat", description="`both`: wrapped, then flat without `MessageID`, `gap_seconds` apart."
    )
    recorded: bool = Field(True, description="Announce texts that were stored with `sendStatus` too.")
    delay_seconds: float = Field(0, ge=0, description="From the message to its announcement.")
    gap_seconds: float = Field(2, ge=0, description="Between the two shapes of `both`, and before a receipt.")
    receipts: Literal["never", "delivered", "failed"] = Field("never", description="Announce what became of a text.")
    access_token: bool = Field(False, description="Add the account's token to what is announced, as was observed.")
    media_key: Literal["Media", "MediaUrls", "MediaURL"] = Field("Media", description="`MediaURL` is one string.")


class Behaviour(_Switches):
    """How the platform answers."""

    list_limit: int = Field(1_000_000, ge=0, description="The contact list of a larger account answers 408.")
    list_timeout: bool = Field(False, description="The contact list answers 408 whatever the account's size.")
    list_timeout_seconds: float = Field(0, ge=0, description="How long that 408 takes; on the platform 30.")
    list_lag_seconds: float = Field(0, ge=0, description="A new contact shows in the list only after this.")
    message_id: Literal["never", "sometimes", "always"] = Field(
        "never", description="Whether the answer to a send holds `MessageID`; `sometimes`: every second one."
    )
    health: Literal["pass", "warn", "fail"] = Field("pass", description="`warn` and `fail` answer 503.")
    relay: RelaySwitches = Field(default_factory=RelaySwitches)

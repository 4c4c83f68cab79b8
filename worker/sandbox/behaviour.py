"""Switches for a running sandbox: behaviour that differs between accounts, or that the platform shows at times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Switches(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    def restore(self) -> None:
        """Set every switch to its default."""
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
    """How messages are posted to the webhook."""

    shape: Literal["flat", "wrapped", "both"] = Field(
        "flat", description="`both`: wrapped, then flat without `MessageID`, `gap_seconds` apart."
    )
    recorded: bool = Field(True, description="Also post texts that were stored with `sendStatus`.")
    delay_seconds: float = Field(0, ge=0, description="Seconds from a message to its event.")
    gap_seconds: float = Field(2, ge=0, description="Seconds between the two formats of `both`, and before a receipt.")
    receipts: Literal["never", "delivered", "failed"] = Field("never", description="Also post a receipt for each text.")
    access_token: bool = Field(False, description="Add the account's token to the event, as observed.")
    media_key: Literal["Media", "MediaUrls", "MediaURL"] = Field("Media", description="`MediaURL` is one string.")


class Behaviour(_Switches):
    """How the platform answers."""

    list_limit: int = Field(
        1_000_000, ge=0, description="The contact list answers 408 for accounts with more contacts."
    )
    list_timeout: bool = Field(False, description="The contact list answers 408 for every account.")
    list_timeout_seconds: float = Field(0, ge=0, description="Seconds until that 408; 30 on the platform.")
    list_lag_seconds: float = Field(0, ge=0, description="Seconds until a new contact appears in the list.")
    opt_out_flags: bool = Field(
        False, description="Contacts of the list have `optedOut`, as has been observed. It is not documented."
    )
    create_existing: bool = Field(
        False, description="A create for a number that has a contact answers with that contact, unchanged."
    )
    message_id: Literal["never", "sometimes", "always"] = Field(
        "never", description="Whether the answer to a send contains `MessageID`; `sometimes`: every second one."
    )
    health: Literal["pass", "warn", "fail"] = Field("pass", description="`warn` and `fail` answer 503.")
    relay: RelaySwitches = Field(default_factory=RelaySwitches)

"""The `[accounts.<name>]` tables."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt

from config.base import Model
from config.policy import PolicyOverride
from config.types import E164, Duration, HttpUrl, Secret, TimeZone, Token, Uid, one_or_many

DEFAULT_API_URL = "https://public-api.virtualtext.com"
DEFAULT_CREATE_URL = "https://virtualtext-txb.textable.app"


class Account(Model):
    """A VirtualText user. Contacts are written to this user, and texts are sent in its name."""

    uid: Uid = Field(
        description="The account uid: the part of the API credential before the colon.",
        examples=[{"env": "VTSYNC_UID"}],
    )
    token: Token = Field(
        description="The access token: the part after the colon. Never write it in the file itself.",
        examples=[{"env": "VTSYNC_TOKEN"}],
    )
    from_number: E164 = Field(
        description="The VirtualText number that texts are sent from, in E.164 form.", examples=["+14155550100"]
    )
    mode: Literal["live", "test"] = Field(
        "live",
        description=(
            "`test`: write nothing to VirtualText, except about the numbers in `test_numbers`. Everything else is done"
            " and shown as it would go."
        ),
    )
    test_numbers: Annotated[tuple[E164, ...], one_or_many()] = Field(
        (),
        description="In test mode, these numbers are texted, and their contacts written, as in live mode.",
        examples=[["+14155552671"]],
    )
    api_url: HttpUrl = Field(
        DEFAULT_API_URL,
        description="Base URL of every call except creating contacts. Set it together with `create_url`.",
    )
    create_url: HttpUrl = Field(DEFAULT_CREATE_URL, description="Base URL of the call that creates contacts.")
    allow_http: StrictBool = Field(
        False, description="Accept `http://` base URLs of other machines. The token then travels unencrypted."
    )
    connect_timeout: StrictFloat = Field(5.0, gt=0, le=60, description="Seconds to wait for a connection.")
    read_timeout: StrictFloat = Field(
        40.0,
        gt=0,
        le=300,
        description="Seconds to wait for a response. At least 31, because the platform itself gives up after 30.",
    )
    concurrency: StrictInt = Field(16, ge=1, le=200, description="Requests in flight at once, per process.")
    max_in_flight: StrictInt | None = Field(
        None, ge=1, le=10_000, description="Requests in flight at once, for the whole fleet. If not set: no limit."
    )
    requests_per_second: StrictFloat | None = Field(
        None,
        gt=0,
        le=10_000,
        description="Requests per second, for the whole fleet. If not set: no limit until the platform answers 429.",
    )
    creates_per_second: StrictFloat | None = Field(
        None,
        gt=0,
        le=10_000,
        description="Contacts created per second, for the whole fleet. They count as requests too.",
    )
    updates_per_second: StrictFloat | None = Field(
        None,
        gt=0,
        le=10_000,
        description="Contacts updated per second, for the whole fleet. They count as requests too.",
    )
    texts_per_second: StrictFloat | None = Field(
        None,
        gt=0,
        le=10_000,
        description="Texts sent or recorded per second, for the whole fleet. They count as requests too.",
    )
    lookup_after: Duration = Field(
        timedelta(seconds=60),
        description=(
            "When the response to a create was lost, wait this long before looking for the contact in the contact"
            " list. The list lags behind."
        ),
    )
    recreate_after: Duration = Field(
        timedelta(hours=1),
        description=(
            "Where the contact list cannot be read: create a contact again when five checks in a row, spread over at"
            " least this time, found that VirtualText does not know its id any more."
        ),
    )
    echo_wait: Duration = Field(
        timedelta(minutes=2),
        description=(
            "When the response to a record was lost and the Relay reports the account's records, wait this long after"
            " the request for the report before recording the text again. Later records of that conversation wait too."
        ),
    )
    time_zone: TimeZone | None = Field(
        None,
        description="Time zone (IANA name) of people whose zone is known neither from the CRM nor from their number.",
        examples=["America/New_York"],
    )
    policy: PolicyOverride | None = Field(
        None, description="Keys of `[policy]` that are different for texts of this account. See [policy.md](policy.md)."
    )
    relay_secret: Secret | None = Field(
        None,
        description="Last part of the Relay URL, at least 24 characters. If not set: Relay events are not accepted.",
        examples=[{"env": "VTSYNC_RELAY_SECRET"}],
    )

    @property
    def only_numbers(self) -> frozenset[str] | None:
        """The only numbers that VirtualText may be told about; None: all, because the account is live."""
        return None if self.mode == "live" else frozenset(self.test_numbers)

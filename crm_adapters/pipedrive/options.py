"""The options of the Pipedrive adapter."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from config.types import HttpUrl, Token
from crm_adapters.oauth import TokenOrApp

DAILY_TOKENS = 30_000
"""What Pipedrive allows in a day for the smallest plan with one user."""


class PipedriveOptions(TokenOrApp):
    """A connection has an API token, or an app whose consent `vtsync connect` asks for."""

    token: Token | None = Field(None, description="The personal API token of a Pipedrive user. Or set `client_id`.")
    deals: bool = Field(False, description="Read deals, too. Each is a record that belongs to its person.")
    log_as: Literal["note", "activity"] = Field(
        "note", description="What `log_messages` writes for each text: a note, or an activity that is done."
    )
    activity_type: str = Field(
        "task", min_length=1, description="The key of the type of these activities, such as `task` or `call`."
    )
    webhook_user: str = Field("vtsync", description="The HTTP auth user name of the webhook in Pipedrive.")
    webhook_password: Token | None = Field(
        None, description="The HTTP auth password of the webhook. If not set, no webhook is accepted."
    )
    daily_tokens: int = Field(
        DAILY_TOKENS,
        gt=0,
        description="At most this many of Pipedrive's API tokens in 24 hours. A page of 500 persons costs 10. Pipedrive"
        " allows a day 30,000, times a factor of the plan, times the number of users, for all apps together.",
    )
    api_url: HttpUrl = Field("https://api.pipedrive.com", description="The address of Pipedrive's API.")

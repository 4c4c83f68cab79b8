"""The options of the HubSpot adapter."""

from __future__ import annotations

from pydantic import Field

from config.types import HttpUrl, Token
from crm_adapters.oauth import TokenOrApp

DAILY_CALLS = 200_000


class HubSpotOptions(TokenOrApp):
    """A connection has a fixed token, or an app whose consent `vtsync connect` asks for."""

    token: Token | None = Field(
        None, description="The service key, or the access token of a private app. Or set `client_id`."
    )
    client_secret: Token | None = Field(
        None, description="The client secret of your HubSpot app. It also proves that webhooks come from HubSpot."
    )
    deals: bool = Field(False, description="Read deals, too. Each is a record that belongs to its contact.")
    webhook_url: HttpUrl | None = Field(
        None,
        description="The address that HubSpot calls, exactly as it is written in the app, if a proxy changes it on the"
        " way. HubSpot signs it. If not set: `web.public_url` and the path.",
    )
    daily_calls: int = Field(
        DAILY_CALLS,
        gt=0,
        description="At most this many calls to HubSpot in 24 hours. HubSpot's own limit is 250,000 a day or more, for"
        " all apps of the account together.",
    )
    api_url: HttpUrl = Field("https://api.hubapi.com", description="The address of HubSpot's API.")

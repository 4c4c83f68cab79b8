"""The `[web]` table."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictBool, StrictFloat, StrictInt

from config.base import Model
from config.sign_in import OidcSignIn, ProxySignIn
from config.types import HttpUrl, IpNetwork, one_or_many


class Web(Model):
    """The HTTP server, `vtsync web`."""

    host: str = Field(
        "127.0.0.1",
        description="The address to listen on. Addresses other than loopback need an API key or a secret.",
    )
    port: StrictInt = Field(8080, ge=0, le=65535, description="The port to listen on.")
    public_url: HttpUrl | None = Field(
        None,
        description="The URL under which others reach the server, such as that of a proxy. Carriers sign this URL.",
        examples=["https://texts.example.com"],
    )
    trusted_proxies: Annotated[tuple[IpNetwork, ...], one_or_many()] = Field(
        (),
        description=(
            "The addresses of proxies in front of the server. If a request comes from one of them, the log shows the"
            " caller that `X-Forwarded-For` names. If not set: the address of the connection."
        ),
        examples=[["10.0.0.0/8", "127.0.0.1"]],
    )
    max_body: StrictInt = Field(262_144, ge=1024, le=10_000_000, description="Longest request body, in bytes.")
    max_batch_body: StrictInt = Field(
        4_194_304, ge=1024, le=10_000_000, description="Longest body of `POST /v1/messages:batch`, in bytes."
    )
    body_timeout: StrictFloat = Field(10.0, gt=0, le=120, description="Seconds a client may take to send its request.")
    requests_per_minute: StrictInt = Field(
        600,
        ge=1,
        le=1_000_000,
        description="Requests per minute for each API key. Events of others are not limited.",
    )
    passwords: StrictBool = Field(
        True, description="Whether people may sign in to the pages with a password of `vtsync users`."
    )
    oidc: OidcSignIn | None = Field(None, description="Sign-in to the pages by OpenID Connect.")
    proxy_sign_in: ProxySignIn | None = Field(None, description="Sign-in to the pages by a header of a proxy.")

"""The tables for carriers, for services that receive events, and for the HTTP side."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictBool, StrictFloat, StrictInt

from config.base import Model
from config.types import Duration, HttpUrl, Secret, one_or_many


class Carrier(Model):
    """One carrier account that other systems of the company send with. Its texts are recorded in VirtualText."""

    carrier: str = Field(
        description="Which carrier; [carriers](carriers.md) lists them, with the keys that each needs.",
        examples=["twilio"],
    )
    account: str = Field(description="The account whose conversations these are.", examples=["main"])
    account_id: str | None = Field(
        None,
        description="The id of your account at the carrier, such as Twilio's account SID or Sinch's service plan id.",
        examples=["AC0123456789abcdef"],
    )
    auth_token: Secret | None = Field(
        None,
        description="The token of that account, such as Twilio's auth token: verifies events and looks up texts.",
        examples=[{"env": "TWILIO_AUTH_TOKEN"}],
    )
    signing_key: Secret | None = Field(
        None,
        description="The secret that the carrier signs events with, such as Vonage's signature secret.",
        examples=[{"env": "VONAGE_SIGNATURE_SECRET"}],
    )
    public_key: str | None = Field(None, description="The public key that verifies events, base64 (Telnyx).")
    username: str | None = Field(None, description="User name of the callback's basic authentication (Bandwidth).")
    password: Secret | None = Field(None, description="Password of the callback's basic authentication (Bandwidth).")
    api_url: HttpUrl | None = Field(None, description="Base URL of the carrier's API. Left out: the usual one.")
    look_up: StrictBool = Field(True, description="Ask the carrier for the text of an event that does not contain it.")
    poll_every: Duration | None = Field(
        None, description="Also read the carrier's list of sent texts this often, if it has one.", examples=["10m"]
    )


class Subscriber(Model):
    """Another service that receives events of texts and opt-outs: by signed webhook, or by a Celery task of its own."""

    url: HttpUrl | None = Field(
        None, description="The URL that events are POSTed to, signed as Standard Webhooks specify."
    )
    secret: Secret | None = Field(
        None,
        description='The signing secret, "whsec_" and base64. Required with `url`.',
        examples=[{"env": "SHOP_WEBHOOK_SECRET"}],
    )
    task: str | None = Field(
        None, description="Instead of `url`: the Celery task to call with the event.", examples=["shop.on_text"]
    )
    queue: str | None = Field(None, description="The queue of that task.", examples=["shop"])
    events: Annotated[tuple[str, ...], one_or_many()] = Field(
        ("message.received", "contact.opted_out", "contact.opted_in"),
        description="Which events. `*` stands for all of them.",
        examples=[["message.received", "message.*"]],
    )
    accounts: Annotated[tuple[str, ...], one_or_many()] = Field(
        (), description="Only events of these accounts. Left out: of all accounts."
    )
    allow_http: StrictBool = Field(
        False, description="Accept an `http://` URL of another machine. Texts then travel unencrypted."
    )


class Metrics(Model):
    """Where workers and the scheduler serve Prometheus metrics. The HTTP side has its own at `/metrics`, with a key."""

    host: str = Field(
        "127.0.0.1",
        description="Where to listen. Anyone who reaches it can read counts and names, but no numbers or texts.",
    )
    port: StrictInt | None = Field(
        None, ge=1, le=65535, description="A worker's port. Left out: no metrics.", examples=[9464]
    )
    beat_port: StrictInt | None = Field(
        None,
        ge=1,
        le=65535,
        description="The scheduler's port, which also serves the state of all workers. Left out: no metrics.",
        examples=[9465],
    )


class Sentry(Model):
    """Error reports, with the extra `sentry`."""

    dsn: Secret | None = Field(
        None,
        description="The address of a Sentry project. Left out: SENTRY_DSN of the environment, else no reports.",
        examples=[{"env": "SENTRY_DSN"}],
    )


class Web(Model):
    """The HTTP side, `vtsync web`."""

    host: str = Field(
        "127.0.0.1", description="Where to listen. Anything but loopback requires an API key or a Relay secret."
    )
    port: StrictInt = Field(8080, ge=0, le=65535, description="The port.")
    public_url: HttpUrl | None = Field(
        None,
        description="The URL under which others reach it through your proxy. Carriers sign this URL.",
        examples=["https://texts.example.com"],
    )
    max_body: StrictInt = Field(262_144, ge=1024, le=10_000_000, description="Largest request body in bytes.")
    body_timeout: StrictFloat = Field(10.0, gt=0, le=120, description="Seconds a client may take to send its request.")
    requests_per_minute: StrictInt = Field(
        600, ge=1, le=1_000_000, description="Requests a minute for each API key (not for Relay and carriers)."
    )

"""Who else has to do with our texts: carriers, services that listen, and the HTTP side that they call."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt

from config.base import Model
from config.types import Duration, HttpUrl, Secret, one_or_many


class Carrier(Model):
    """One carrier account that other systems of the company send with; its texts are recorded in VirtualText."""

    carrier: Literal["twilio", "telnyx", "bandwidth", "vonage", "plivo", "sinch"] = Field(description="Which carrier.")
    account: str = Field(description="The account that keeps these conversations.", examples=["main"])
    account_id: str | None = Field(
        None, description="Twilio account SID, Plivo auth id, Sinch service plan id.", examples=["AC0123456789abcdef"]
    )
    auth_token: Secret | None = Field(
        None,
        description="Twilio or Plivo auth token, Telnyx API key, Sinch API token: verifies, and looks up texts.",
        examples=[{"env": "TWILIO_AUTH_TOKEN"}],
    )
    signing_key: Secret | None = Field(
        None,
        description="Vonage signature secret, Sinch webhook secret.",
        examples=[{"env": "VONAGE_SIGNATURE_SECRET"}],
    )
    public_key: str | None = Field(None, description="Telnyx public key, base64.")
    username: str | None = Field(None, description="Bandwidth: user name of the callback's basic authentication.")
    password: Secret | None = Field(None, description="Bandwidth: password of the callback's basic authentication.")
    api_url: HttpUrl | None = Field(None, description="Base URL of the carrier's API. Left out: the carrier's own.")
    look_up: StrictBool = Field(True, description="Ask the carrier for a text that its event does not carry.")
    poll_every: Duration | None = Field(
        None, description="Also read the carrier's list of sent texts this often, where it has one.", examples=["10m"]
    )


class Subscriber(Model):
    """Another service that hears of texts and opt-outs: by signed webhook, or by a Celery task of its own."""

    url: HttpUrl | None = Field(None, description="Where events are POSTed to, signed by the Standard Webhooks scheme.")
    secret: Secret | None = Field(
        None,
        description='The signing secret, "whsec_" and base64. Required with `url`.',
        examples=[{"env": "SHOP_WEBHOOK_SECRET"}],
    )
    task: str | None = Field(None, description="Or: the Celery task to call with the event.", examples=["shop.on_text"])
    queue: str | None = Field(None, description="The queue of that task.", examples=["shop"])
    events: Annotated[tuple[str, ...], one_or_many()] = Field(
        ("message.received", "contact.opted_out", "contact.opted_in"),
        description="Which events, `*` for all of them.",
        examples=[["message.received", "message.*"]],
    )
    accounts: Annotated[tuple[str, ...], one_or_many()] = Field((), description="Of which accounts. Left out: of all.")
    allow_http: StrictBool = Field(
        False, description="Accept an `http://` URL that leaves this machine, so that texts travel in clear."
    )


class Metrics(Model):
    """Where Prometheus may ask workers and the scheduler. The HTTP side shows its own at `/metrics`, with a key."""

    host: str = Field(
        "127.0.0.1", description="Where to listen. Whoever reaches it may read: counts and names, no numbers, no texts."
    )
    port: StrictInt | None = Field(
        None, ge=1, le=65535, description="A worker's port. Left out: no metrics.", examples=[9464]
    )
    beat_port: StrictInt | None = Field(
        None,
        ge=1,
        le=65535,
        description="The scheduler's port, which also shows how the fleet stands. Left out: no metrics.",
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

    host: str = Field("127.0.0.1", description="Where to listen. Beyond loopback an API key or a secret must exist.")
    port: StrictInt = Field(8080, ge=0, le=65535, description="The port.")
    public_url: HttpUrl | None = Field(
        None,
        description="How the outside reaches it, through a proxy. Carriers sign this URL.",
        examples=["https://texts.example.com"],
    )
    max_body: StrictInt = Field(262_144, ge=1024, le=10_000_000, description="Longest request body, bytes.")
    body_timeout: StrictFloat = Field(10.0, gt=0, le=120, description="Seconds a client may take to send its request.")
    requests_per_minute: StrictInt = Field(
        600, ge=1, le=1_000_000, description="Requests a minute for each API key (not for Relay and carriers)."
    )

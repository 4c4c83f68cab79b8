"""The `[carriers.<name>]` and `[subscribers.<name>]` tables: other systems that send or receive our events."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictBool

from config.base import Model
from config.types import Duration, HttpUrl, Secret, one_or_many


class Carrier(Model):
    """A carrier account that other systems of the company send texts with. Its texts are recorded in VirtualText."""

    carrier: str = Field(
        description="The carrier; [carriers](carriers.md) lists them, with the keys that each needs.",
        examples=["twilio"],
    )
    account: str = Field(description="The account that these conversations are recorded in.", examples=["main"])
    account_id: str | None = Field(
        None,
        description="Twilio account SID, Plivo auth ID or Sinch service plan ID.",
        examples=["AC0123456789abcdef"],
    )
    auth_token: Secret | None = Field(
        None,
        description=(
            "Twilio or Plivo auth token, Telnyx API key or Sinch API token. Verifies events, looks up texts, or lists"
            " opt-outs."
        ),
        examples=[{"env": "TWILIO_AUTH_TOKEN"}],
    )
    signing_key: Secret | None = Field(
        None,
        description="Vonage signature secret, Sinch webhook secret, or a shared key of Twilio.",
        examples=[{"env": "VONAGE_SIGNATURE_SECRET"}],
    )
    public_key: str | None = Field(None, description="Telnyx public key, in base64.")
    username: str | None = Field(None, description="Bandwidth: user name of the callback's basic authentication.")
    password: Secret | None = Field(None, description="Bandwidth: password of the callback's basic authentication.")
    api_url: HttpUrl | None = Field(
        None, description="Base URL of the carrier's API. If not set: the carrier's public one."
    )
    look_up: StrictBool = Field(True, description="When an event does not contain the text, ask the carrier for it.")
    poll_every: Duration | None = Field(
        None,
        description="Also read the carrier's list of sent texts this often. Only for carriers that have such a list.",
        examples=["10m"],
    )


class Subscriber(Model):
    """Another service that is notified of texts and opt-outs, by a signed webhook or by a Celery task of its own."""

    url: HttpUrl | None = Field(
        None, description="The URL that events are POSTed to, signed according to Standard Webhooks."
    )
    secret: Secret | None = Field(
        None,
        description='The signing secret: "whsec_" followed by base64. Required with `url`.',
        examples=[{"env": "SHOP_WEBHOOK_SECRET"}],
    )
    task: str | None = Field(
        None, description="Instead of `url`: the Celery task to call with each event.", examples=["shop.on_text"]
    )
    queue: str | None = Field(None, description="The queue of that task.", examples=["shop"])
    events: Annotated[tuple[str, ...], one_or_many()] = Field(
        ("message.received", "contact.opted_out", "contact.opted_in"),
        description="The events to send. `*` matches any of them.",
        examples=[["message.received", "message.*"]],
    )
    accounts: Annotated[tuple[str, ...], one_or_many()] = Field(
        (), description="Only events of these accounts. If not set: of all accounts."
    )
    allow_http: StrictBool = Field(
        False, description="Accept an `http://` URL of another machine. Texts then travel unencrypted."
    )

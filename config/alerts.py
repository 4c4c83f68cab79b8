"""The `[alerts]` table and its channels: who is told when something waits for a person or does not work."""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field, PlainSerializer, StrictBool

from config.base import Model
from config.types import Duration, Hour, HttpUrl, Secret, TimeZone, Token, invalid_value, one_or_many
from config.types.base import text_schema

_HOURS = re.compile(r"((?:[01][0-9]|2[0-3]):[0-5][0-9])\s*-\s*((?:[01][0-9]|2[0-3]):[0-5][0-9])")


def _night(value: object) -> tuple[time, time]:
    if isinstance(value, tuple):
        return value
    match = _HOURS.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or match[1] == match[2]:
        raise invalid_value("is not a span of two times of day", 'write  "22:00-07:00"')
    return time.fromisoformat(match[1]), time.fromisoformat(match[2])


def _written_night(value: tuple[time, time]) -> str:
    return f"{value[0]:%H:%M}-{value[1]:%H:%M}"


Night: TypeAlias = Annotated[
    tuple[time, time],
    BeforeValidator(_night),
    PlainSerializer(_written_night, return_type=str, when_used="json"),
    text_schema(rf"^{_HOURS.pattern}$"),
]
"""From a time of day until another one, perhaps of the next day."""


class ChannelOptions(Model):
    """A way to tell people: an e-mail address, a chat, a service."""

    kind: str
    events: Annotated[tuple[str, ...], one_or_many()] = Field(
        ("*",), description="The alerts to send. `*` matches any of them.", examples=[["sync_*", "no_tick"]]
    )
    urgent_only: StrictBool = Field(False, description="Send only urgent alerts, and no digest.")
    digest: StrictBool = Field(True, description="Also send the digest, if `alerts.digest` sets its time.")


class EmailChannel(ChannelOptions):
    """E-mail."""

    kind: Literal["email"] = Field(description="e-mail, by SMTP")
    host: str = Field(description="The SMTP server.", min_length=1, examples=["smtp.example.com"])
    port: int = Field(587, ge=1, le=65535, description="Its port: usually 587 with `starttls`, 465 with `tls`.")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="`none` is allowed for this machine only, unless `allow_unencrypted` is true."
    )
    allow_unencrypted: StrictBool = Field(False, description='Allow `security = "none"` with another machine.')
    username: str | None = Field(None, description="The user name at the server. If not set: no login.")
    password: Secret | None = Field(None, description="The password of that user.", examples=[{"env": "SMTP_PASSWORD"}])
    sender: str = Field(description="The address in From.", examples=["vtsync@example.com"])
    to: Annotated[tuple[str, ...], one_or_many()] = Field(
        description="Who gets it.", min_length=1, examples=[["ops@example.com"]]
    )


class SlackChannel(ChannelOptions):
    """A chat with Slack's incoming webhooks."""

    kind: Literal["slack"] = Field(
        description="an incoming webhook of Slack, or of a chat that takes the same JSON, such as Mattermost"
    )
    webhook_url: Token = Field(
        description="The URL of the incoming webhook, which is a secret.", examples=[{"env": "SLACK_WEBHOOK_URL"}]
    )
    allow_http: StrictBool = Field(False, description="Accept an `http://` URL of another machine.")


class WebhookChannel(ChannelOptions):
    """A signed webhook."""

    kind: Literal["webhook"] = Field(description="a POST of JSON, signed according to Standard Webhooks")
    url: HttpUrl = Field(description="The URL of the service.", examples=["https://ops.example.com/alerts"])
    secret: Secret = Field(
        description='The signing secret: "whsec_" followed by base64.', examples=[{"env": "OPS_WEBHOOK_SECRET"}]
    )
    allow_http: StrictBool = Field(False, description="Accept an `http://` URL of another machine.")


class AppriseChannel(ChannelOptions):
    """A service that the package apprise knows."""

    kind: Literal["apprise"] = Field(
        description="one of the services that apprise knows; install vtsync with the extra `apprise`"
    )
    service: Token = Field(
        description="The URL of the service as apprise writes it, which contains its credential.",
        examples=[{"env": "PUSHOVER_URL"}],
    )


Channel: TypeAlias = Annotated[
    EmailChannel | SlackChannel | WebhookChannel | AppriseChannel, Field(discriminator="kind")
]
"""Any channel of the configuration file; ``kind`` names its kind."""


class Alerts(Model):
    """Alerts: who is told when something waits for a person or does not work."""

    channels: dict[str, Channel] = Field(
        default_factory=dict, description="Where alerts go, one table `[alerts.channels.<name>]` each."
    )
    quiet: Night | None = Field(
        None,
        description="In these hours only urgent alerts are sent; the others follow when they end.",
        examples=["22:00-07:00"],
    )
    time_zone: TimeZone = Field(
        "UTC", description="The time zone of `quiet` and `digest`.", examples=["America/Chicago"]
    )
    digest: Hour | None = Field(
        None, description="Send a list of everything that is open once a day, at this time.", examples=["08:00"]
    )
    remind_after: Duration | None = Field(
        None, description="Send an alert that is still open again after this time.", examples=["24h"]
    )

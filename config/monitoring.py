"""The `[metrics]` and `[sentry]` tables."""

from __future__ import annotations

from pydantic import Field, StrictInt

from config.base import Model
from config.types import Secret


class Metrics(Model):
    """Where Prometheus scrapes workers and the scheduler. `vtsync web` serves its own metrics at `/metrics`, by key."""

    host: str = Field(
        "127.0.0.1",
        description="The address to listen on. Anyone who reaches it can read counts and names, but no phone numbers"
        " or texts.",
    )
    port: StrictInt | None = Field(
        None, ge=1, le=65535, description="The port of a worker. If not set: no metrics.", examples=[9464]
    )
    beat_port: StrictInt | None = Field(
        None,
        ge=1,
        le=65535,
        description="The port of the scheduler, which also serves the state of the fleet. If not set: no metrics.",
        examples=[9465],
    )


class Sentry(Model):
    """Error reports to Sentry. Needs the extra `sentry`."""

    dsn: Secret | None = Field(
        None,
        description=(
            "The DSN of a Sentry project. If not set: the environment variable SENTRY_DSN; without that, no reports."
        ),
        examples=[{"env": "SENTRY_DSN"}],
    )

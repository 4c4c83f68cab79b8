"""The `[callbacks]` table: where the events of a single text may go, which the caller of a send job names."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from config.base import Model
from config.types import HttpUrl, Secret, invalid_value, one_or_many, public_url_problem


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL, without the scheme's own port. Raises ValueError."""
    parts = urlsplit(url)
    port = "" if parts.port in (None, {"http": 80, "https": 443}.get(parts.scheme)) else f":{parts.port}"
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def _origin(url: str) -> str:
    if urlsplit(url).path or "?" in url or "#" in url:
        raise invalid_value("is more than an origin", 'write scheme, host and port only, such as "http://shop:8000"')
    return origin_of(url)


class Callbacks(Model):
    """Callbacks: a send job may name a URL that every event of its text is POSTed to."""

    secret: Secret | None = Field(
        None,
        description='The signing secret: "whsec_" followed by base64. Without it, no job may name a URL.',
        examples=[{"env": "CALLBACK_SECRET"}],
    )
    allow_private: Annotated[tuple[Annotated[HttpUrl, AfterValidator(_origin)], ...], one_or_many()] = Field(
        (),
        description=(
            "Services of this machine or network that may be called, too, by scheme, host and port. All others must be"
            " public and use https."
        ),
        examples=[["http://shop:8000"]],
    )

    def is_private(self, url: str) -> bool:
        """Return whether a URL may lead into this network, because its origin is named."""
        try:
            return origin_of(url) in self.allow_private
        except ValueError:
            return False

    def problem_of(self, url: str) -> str | None:
        """Return why a text's events cannot go to ``url``, as "is ..."; None if they can. Asks no DNS server."""
        if self.secret is None:
            return "cannot be used, because callbacks.secret is not configured"
        if "@" in urlsplit(url).netloc:
            return "has a user name or password in it"
        if self.is_private(url):
            return None
        problem = public_url_problem(url)
        if problem is not None:
            return f"{problem}; only a service that callbacks.allow_private names may be that"
        return None if urlsplit(url).scheme == "https" else "must begin with https://"

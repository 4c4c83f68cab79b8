"""Signed webhooks, as standardwebhooks.com has them."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import requests
from standardwebhooks.webhooks import Webhook

from config.integrations import Subscriber
from worker.core.http import HttpTransport, NoResponse, Origin
from worker.deliveries.outcome import Again, Done, GivenUp, Outcome
from worker.store.models import utcnow

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 15.0
CONNECTIONS = 4
MOST_BYTES = 64 * 1024
"""Of the answer, which nobody reads; a longer one ends the connection."""
LONGEST_WAIT = timedelta(days=1)
GONE, TOO_MANY, UNAVAILABLE = 410, 429, 503


class Sender:
    """Keeps connections to subscribers; for many threads, to be closed. Time and length of answers are bounded."""

    def __init__(self) -> None:
        self._transport = HttpTransport(
            connect_timeout=CONNECT_SECONDS, read_timeout=ANSWER_SECONDS, connections=CONNECTIONS
        )
        self._origins: dict[str, Origin] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def deliver(self, subscriber: Subscriber, event_id: str, body: str) -> Outcome:
        """POST one event. Only a 2xx answer counts; redirects are not followed."""
        if subscriber.url is None or subscriber.secret is None:
            return GivenUp("the subscriber has no url and secret any more; correct it, then `vtsync forwards retry`")
        now = utcnow()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "virtualtext-crm-sync",
            "webhook-id": event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": sign(subscriber.secret.get_secret_value(), event_id, now, body),
        }
        try:
            request = requests.Request("POST", subscriber.url).prepare()
            origin = self._origin(str(request.url))
        except requests.RequestException as error:
            return Again(f"its url cannot be used ({type(error).__name__})", away=True)
        answer = self._transport.exchange(
            origin, "POST", request.path_url, headers, body.encode(), max_bytes=MOST_BYTES
        )
        if isinstance(answer, NoResponse):
            return Again(f"no answer came ({type(answer.error).__name__})", away=True)
        return judge(answer.status, answer.headers.get("Retry-After", ""))

    def _origin(self, url: str) -> Origin:
        parts = urlsplit(url)
        base = f"{parts.scheme}://{parts.netloc}"
        with self._lock:
            if base not in self._origins:
                self._origins[base] = self._transport.origin(base)
            return self._origins[base]


def judge(status: int, retry_after: str) -> Outcome:
    """What an answer means. ``Retry-After`` in seconds is kept to, up to a day. Pure."""
    if 200 <= status < 300:
        return Done()
    if status == GONE:
        return GivenUp("the receiver answered 410: it wants no more; remove the subscriber, or correct its url")
    said = retry_after.isascii() and retry_after.isdecimal() and len(retry_after) < 7
    after = timedelta(seconds=int(retry_after)) if said else None
    busy = status in (TOO_MANY, UNAVAILABLE)
    return Again(f"the receiver answered HTTP {status}", min(after, LONGEST_WAIT) if after else None, away=busy)


def sign(secret: str, event_id: str, at: datetime, body: str) -> str:
    """The ``webhook-signature`` header. Raises ValueError when the secret is not base64."""
    return Webhook(secret).sign(event_id, at.astimezone(UTC), body)

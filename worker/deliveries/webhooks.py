"""Sends signed webhooks as standardwebhooks.com specifies them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import requests
from standardwebhooks.webhooks import Webhook

from config.alerts import SlackChannel, WebhookChannel
from config.callbacks import Callbacks
from config.integrations import Subscriber
from config.types import is_public
from crm_adapters.unreachable import PROXY_LOGIN, explain_unreachable
from worker.core.http import AddressRefused, HttpTransport, NoResponse
from worker.deliveries.outcome import Delivered, DeliveryOutcome, GaveUp, RetryLater
from worker.store.models import utcnow

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 15.0
CONNECTIONS = 4
MAX_BYTES = 64 * 1024
"""Maximum size of a response, whose body is ignored. A longer one ends the connection."""
MAX_WAIT = timedelta(days=1)
PROXY_LOGIN_NEEDED, GONE, TOO_MANY, UNAVAILABLE = 407, 410, 429, 503


class WebhookSender:
    """Sends webhooks over kept connections, from many threads, with limits for responses. Close it after use."""

    def __init__(self) -> None:
        self._any, self._public = _transport(lambda _: True), _transport(_is_public)

    def __enter__(self) -> WebhookSender:
        return self

    def __exit__(self, *_: object) -> None:
        self._any.close()
        self._public.close()

    def post(self, subscriber: Subscriber, event_id: str, body: str) -> DeliveryOutcome:
        """POST one event to a subscriber. Only a 2xx answer counts; redirects are not followed."""
        if subscriber.url is None or subscriber.secret is None:
            return GaveUp(
                "the subscriber no longer has a url and a secret; correct it, then run `vtsync forwards retry`"
            )
        return self._post(self._any, subscriber.url, subscriber.secret.get_secret_value(), event_id, body)

    def call_back(self, callbacks: Callbacks, url: str, event_id: str, body: str) -> DeliveryOutcome:
        """POST one event to a URL that a caller named, if the configuration still allows it."""
        problem = callbacks.problem_of(url)
        if problem is not None or callbacks.secret is None:
            return GaveUp(f"the callback_url {problem}; correct [callbacks], then run `vtsync forwards retry`")
        transport = self._any if callbacks.is_private(url) else self._public
        return self._post(transport, url, callbacks.secret.get_secret_value(), event_id, body)

    def notify(self, channel: WebhookChannel, event_id: str, body: str) -> DeliveryOutcome:
        """POST one notice to a channel of alerts."""
        return self._post(self._any, str(channel.url), channel.secret.get_secret_value(), event_id, body)

    def chat(self, channel: SlackChannel, event_id: str, body: str) -> DeliveryOutcome:
        """POST one notice to a chat, whose URL is the secret."""
        return self._post(self._any, channel.webhook_url.get_secret_value(), None, event_id, body)

    def _post(
        self, transport: HttpTransport, url: str, secret: str | None, event_id: str, body: str
    ) -> DeliveryOutcome:
        now = utcnow()
        headers = {"Content-Type": "application/json", "User-Agent": "virtualtext-crm-sync"}
        if secret is not None:
            headers |= {
                "webhook-id": event_id,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": sign_webhook(secret, event_id, now, body),
            }
        try:
            request = requests.Request("POST", url).prepare()
            origin = transport.origin_of(str(request.url))
        except (requests.RequestException, OSError) as error:
            why = explain_unreachable(error) or f"its url cannot be used ({type(error).__name__})"
            return RetryLater(why, is_down=True)
        answer = transport.exchange(origin, "POST", request.path_url, headers, body.encode(), max_bytes=MAX_BYTES)
        if isinstance(answer, NoResponse) and isinstance(answer.error, AddressRefused):
            return RetryLater("its host name leads to an address of this machine or of a private network", is_down=True)
        if isinstance(answer, NoResponse):
            why = "" if answer.request_left else explain_unreachable(answer.error)
            return RetryLater(why or f"no response ({type(answer.error).__name__})", is_down=True)
        return outcome_of_status(answer.status, answer.headers.get("Retry-After", ""))


def _transport(may_connect: Callable[[str], bool]) -> HttpTransport:
    return HttpTransport(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=ANSWER_SECONDS,
        connections=CONNECTIONS,
        may_connect=may_connect,
    )


def _is_public(address: str) -> bool:
    return is_public(ip_address(address))


def outcome_of_status(status: int, retry_after: str) -> DeliveryOutcome:
    """Classify an answer. ``Retry-After`` in seconds is respected, up to a day. Pure."""
    if 200 <= status < 300:
        return Delivered()
    if status == GONE:
        return GaveUp("the receiver answered 410: it is gone; correct its url, or remove it")
    is_seconds = retry_after.isascii() and retry_after.isdecimal() and len(retry_after) < 7
    after = timedelta(seconds=int(retry_after)) if is_seconds else None
    if status == PROXY_LOGIN_NEEDED:
        return RetryLater(PROXY_LOGIN, is_down=True)
    busy = status in (TOO_MANY, UNAVAILABLE)
    return RetryLater(f"the receiver answered HTTP {status}", min(after, MAX_WAIT) if after else None, is_down=busy)


def sign_webhook(secret: str, event_id: str, at: datetime, body: str) -> str:
    """Return the ``webhook-signature`` header. Raises ValueError if the secret is not base64."""
    return Webhook(secret).sign(event_id, at.astimezone(UTC), body)

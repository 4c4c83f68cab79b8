"""Signed webhooks, as standardwebhooks.com has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import requests
from standardwebhooks.webhooks import Webhook

from config.outside import Subscriber
from worker.forward.outcome import Again, Done, GivenUp, Outcome

SECONDS = (5.0, 15.0)
LONGEST_WAIT = timedelta(days=1)
GONE = 410


def deliver(session: requests.Session, subscriber: Subscriber, event_id: str, body: str, now: datetime) -> Outcome:
    """POST one event. Only a 2xx answer counts; redirects are not followed."""
    if subscriber.url is None or subscriber.secret is None:
        return GivenUp("the subscriber has no url and secret any more; correct it, then `vtsync forwards retry`")
    data = body.encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "virtualtext-crm-sync",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": sign(subscriber.secret.get_secret_value(), event_id, now, body),
    }
    try:
        with session.post(
            subscriber.url, data=data, headers=headers, timeout=SECONDS, allow_redirects=False, stream=True
        ) as answer:
            status, retry_after = answer.status_code, answer.headers.get("Retry-After", "")
    except (requests.RequestException, OSError) as error:
        return Again(f"it could not be delivered ({type(error).__name__})")
    if 200 <= status < 300:
        return Done()
    if status == GONE:
        return GivenUp("the receiver answered 410: it wants no more; remove the subscriber, or correct its url")
    after = timedelta(seconds=int(retry_after)) if retry_after.isdigit() and len(retry_after) < 7 else None
    return Again(f"the receiver answered HTTP {status}", min(after, LONGEST_WAIT) if after else None)


def sign(secret: str, event_id: str, at: datetime, body: str) -> str:
    """The ``webhook-signature`` header. Raises ValueError when the secret is not base64."""
    return Webhook(secret).sign(event_id, at.astimezone(UTC), body)

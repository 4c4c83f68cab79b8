"""Sends a notice to a channel of alerts: e-mail, Slack, a signed webhook, or a service that apprise knows."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import orjson

from config.alerts import AppriseChannel, Channel, EmailChannel, SlackChannel
from worker.deliveries.email import send_email
from worker.deliveries.notices import TEST, Notice
from worker.deliveries.outcome import Delivered, DeliveryOutcome, GaveUp, RetryLater
from worker.deliveries.webhooks import WebhookSender
from worker.store.ids import new_message_id
from worker.store.models import utcnow

INSTALL_APPRISE = 'install the package apprise: pip install "virtualtext-crm-sync[apprise]"'
SLACK_LIMIT = 35_000
"""Slack cuts a longer text."""


def tell(channel: Channel, sender: WebhookSender, event_id: str, payload: str) -> DeliveryOutcome:
    """Send one notice. ``payload`` is its JSON."""
    if isinstance(channel, EmailChannel):
        return send_email(channel, event_id, Notice.from_payload(payload))
    if isinstance(channel, SlackChannel):
        return sender.chat(channel, event_id, as_chat(Notice.from_payload(payload)))
    if isinstance(channel, AppriseChannel):
        return _by_apprise(channel, Notice.from_payload(payload))
    return sender.notify(channel, event_id, payload)


def as_chat(notice: Notice) -> str:
    """Write the JSON that Slack's incoming webhooks take. ``&``, ``<`` and ``>`` are its control characters. Pure."""
    text = f"*{notice.title}*\n{notice.text}"[:SLACK_LIMIT]
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, entity)
    return orjson.dumps({"text": text}).decode()


def has_apprise() -> bool:
    """Return whether the optional package is installed."""
    return find_spec("apprise") is not None


def _by_apprise(channel: AppriseChannel, notice: Notice) -> DeliveryOutcome:
    if not has_apprise():
        return GaveUp(f"{INSTALL_APPRISE}; then run `vtsync forwards retry`")
    service = import_module("apprise").Apprise()
    if not service.add(channel.service.get_secret_value()):
        return GaveUp("apprise does not know the URL in `service`; correct it, then run `vtsync forwards retry`")
    if service.notify(title=notice.title, body=notice.text, body_format="text"):
        return Delivered()
    return RetryLater("the service did not accept it", is_down=True)


def try_channel(channel: Channel) -> str:
    """Send a test to a channel at once. Return why that failed; "" if the test was accepted."""
    notice = Notice(TEST, utcnow())
    with WebhookSender() as sender:
        outcome = tell(channel, sender, new_message_id(), notice.as_payload())
    return outcome.reason if isinstance(outcome, RetryLater | GaveUp) else ""

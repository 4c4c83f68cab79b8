"""The Relay: posts each message to the account's webhook once, in the formats that were observed."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from worker.sandbox.behaviour import Behaviour, RelaySwitches
from worker.sandbox.http import post_json
from worker.sandbox.state import ContactJson, SandboxAccount, SandboxMessage, State

TIMEOUT_SECONDS = 10
CONNECTIONS = 8

TimedEvent = tuple[float, dict[str, Any]]
"""Seconds to wait after the previous event, and the JSON body."""


class SandboxRelay:
    """Posts events in the background, each only once. Lives on one event loop."""

    def __init__(self, state: State, behaviour: Behaviour) -> None:
        self._state = state
        self._behaviour = behaviour
        self._tasks: set[asyncio.Task[None]] = set()
        self._free = asyncio.Semaphore(CONNECTIONS)
        self.delivered = 0
        self.failed = 0
        self.last_error = ""

    async def stop(self) -> None:
        """Cancel the events that were not posted yet."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def waiting(self) -> int:
        """Return the number of messages whose events are not all posted."""
        return len(self._tasks)

    def counts(self) -> dict[str, int | str]:
        """Return the number of events by outcome, and the reason of the last failure."""
        return {
            "delivered": self.delivered,
            "failed": self.failed,
            "waiting": self.waiting,
            "last_error": self.last_error,
        }

    def announce(self, message: SandboxMessage) -> None:
        """Start posting the events of ``message``, and return at once."""
        url = self._state.webhook(message.account)
        if not url or (message.kind == "recorded" and not self._behaviour.relay.recorded):
            return
        contact = self._state.contact_of(message.account, message.phone)
        events = events_of(message, contact, self._state.accounts[message.account], self._behaviour.relay)
        task = asyncio.get_running_loop().create_task(self._post_all(url, events))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self) -> None:
        """Cancel the events that were not posted yet, and reset the counts."""
        for task in self._tasks:
            task.cancel()
        self.delivered = self.failed = 0
        self.last_error = ""

    async def _post_all(self, url: str, events: list[TimedEvent]) -> None:
        for wait, event in events:
            if wait:
                await asyncio.sleep(wait)
            await self._post(url, orjson.dumps(event))

    async def _post(self, url: str, body: bytes) -> None:
        try:
            async with self._free:
                status = await post_json(url, body, TIMEOUT_SECONDS)
        except (TimeoutError, ValueError, OSError) as error:
            self._failed(f"the webhook could not be reached: {type(error).__name__}")
            return
        if status < 300:
            self.delivered += 1
        else:
            self._failed(f"the webhook answered {status}")

    def _failed(self, reason: str) -> None:
        self.failed += 1
        self.last_error = reason


def events_of(
    message: SandboxMessage, contact: ContactJson | None, account: SandboxAccount, switches: RelaySwitches
) -> list[TimedEvent]:
    """Return the events of ``message``, in order. The flat format is documented, the others were observed."""
    flat = _flat(message, contact, switches.media_key)
    if switches.access_token:
        flat["AccessToken"] = account.token
    inbound = message.kind == "inbound"
    wrapped = _wrapped("message.received" if inbound else "message.sent", message, flat)
    without_id = {name: value for name, value in flat.items() if name != "MessageID"}
    delay, gap = switches.delay_seconds, switches.gap_seconds
    events: list[TimedEvent] = {
        "flat": [(delay, flat)],
        "wrapped": [(delay, wrapped)],
        "both": [(delay, wrapped), (gap, without_id)],
    }[switches.shape]
    if switches.receipts != "never" and message.kind == "sent_by_platform":
        receipt = {"MessageID": message.id, "MessageStatus": switches.receipts}
        shaped = receipt if switches.shape == "flat" else _wrapped(f"message.{switches.receipts}", message, receipt)
        events = [*events, (gap, shaped)]
    return events


def _flat(message: SandboxMessage, contact: ContactJson | None, media_key: str) -> dict[str, Any]:
    media: list[str] | str = list(message.media)
    if media_key == "MediaURL":
        media = message.media[0] if message.media else ""
    return {
        "MessageID": message.id,
        "ConversationID": contact["id"] if contact else "",
        "ToNumber": message.to,
        "FromNumber": message.from_number,
        "MessageBody": message.text or None,
        "MessageDirection": "in" if message.kind == "inbound" else "out",
        "TextableUserID": message.account,
        "ContactName": contact["fullName"] if contact else message.phone,
        "ContactEmail": contact["email"] if contact else "",
        media_key: media,
    }


def _wrapped(event_type: str, message: SandboxMessage, data: dict[str, Any]) -> dict[str, Any]:
    return {"eventType": event_type, "timestamp": round(message.at * 1000), "data": data}

"""The Relay: each message is announced to the account's webhook, once, in the shapes that were observed."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import orjson

from worker.sandbox.behaviour import Behaviour, RelaySwitches
from worker.sandbox.state import Account, ContactJson, Message, State

TIMEOUT_SECONDS = 10
CONNECTIONS = 8

Event = tuple[float, dict[str, Any]]
"""Seconds to wait after the event before, and the JSON body."""


class Relay:
    """Posts events in the background, never again when one fails. Lives on one event loop."""

    def __init__(self, state: State, behaviour: Behaviour) -> None:
        self._state = state
        self._behaviour = behaviour
        self._tasks: set[asyncio.Task[None]] = set()
        self.delivered = 0
        self.failed = 0
        self.last_error = ""

    async def start(self) -> None:
        """Open the client. Raises nothing."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_read=TIMEOUT_SECONDS),
            headers={"Content-Type": "application/json"},
        )

    async def stop(self) -> None:
        """Give up what was not announced yet."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    @property
    def waiting(self) -> int:
        """Messages whose announcement is not over."""
        return len(self._tasks)

    def counts(self) -> dict[str, int | str]:
        """What became of the events; ``last_error`` says why the last one failed that did."""
        return {
            "delivered": self.delivered,
            "failed": self.failed,
            "waiting": self.waiting,
            "last_error": self.last_error,
        }

    def announce(self, message: Message) -> None:
        """Start announcing ``message``; returns at once."""
        url = self._state.webhook(message.account)
        if not url or (message.kind == "recorded" and not self._behaviour.relay.recorded):
            return
        contact = self._state.contact_of(message.account, message.phone)
        told = events(message, contact, self._state.accounts[message.account], self._behaviour.relay)
        task = asyncio.get_running_loop().create_task(self._deliver(url, told))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self) -> None:
        """Give up what was not announced yet, and count from nothing."""
        for task in self._tasks:
            task.cancel()
        self.delivered = self.failed = 0
        self.last_error = ""

    async def _deliver(self, url: str, told: list[Event]) -> None:
        for wait, event in told:
            if wait:
                await asyncio.sleep(wait)
            await self._post(url, orjson.dumps(event))

    async def _post(self, url: str, body: bytes) -> None:
        try:
            async with self._session.post(url, data=body, allow_redirects=False) as answer:
                if answer.status < 300:
                    self.delivered += 1
                else:
                    self._failed(f"the webhook answered {answer.status}")
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            self._failed(f"the webhook could not be reached: {type(error).__name__}")

    def _failed(self, why: str) -> None:
        self.failed += 1
        self.last_error = why


def events(message: Message, contact: ContactJson | None, account: Account, switches: RelaySwitches) -> list[Event]:
    """What is announced of ``message``, in order: the flat shape as documented, the rest as observed."""
    flat = _flat(message, contact, switches.media_key)
    if switches.access_token:
        flat["AccessToken"] = account.token
    inbound = message.kind == "inbound"
    wrapped = _wrapped("message.received" if inbound else "message.sent", message, flat)
    without_id = {name: value for name, value in flat.items() if name != "MessageID"}
    delay, gap = switches.delay_seconds, switches.gap_seconds
    told: list[Event] = {
        "flat": [(delay, flat)],
        "wrapped": [(delay, wrapped)],
        "both": [(delay, wrapped), (gap, without_id)],
    }[switches.shape]
    if switches.receipts != "never" and message.kind == "sent_by_platform":
        receipt = {"MessageID": message.id, "MessageStatus": switches.receipts}
        shaped = receipt if switches.shape == "flat" else _wrapped(f"message.{switches.receipts}", message, receipt)
        told = [*told, (gap, shaped)]
    return told


def _flat(message: Message, contact: ContactJson | None, media_key: str) -> dict[str, Any]:
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


def _wrapped(event_type: str, message: Message, data: dict[str, Any]) -> dict[str, Any]:
    return {"eventType": event_type, "timestamp": round(message.at * 1000), "data": data}

"""Connects the platform and the faults to two HTTP servers. Lives on one event loop."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from ipaddress import ip_address
from typing import Any

import orjson

from worker.sandbox.answers import SandboxAnswer, bad_request, error_envelope
from worker.sandbox.behaviour import Behaviour
from worker.sandbox.control import Control
from worker.sandbox.faults import HUGE_BYTES, Fault, Faults, Injection
from worker.sandbox.http import Handler, HttpRequest, HttpServer
from worker.sandbox.log import RequestLog
from worker.sandbox.platform import Call, Platform, SandboxReply, route_call
from worker.sandbox.relay import SandboxRelay
from worker.sandbox.state import SandboxAccount, State

_NEVER_PUBLIC = (".localhost", ".local", ".internal", ".svc", ".test")


class Service:
    """The platform behind its two hosts."""

    def __init__(self, state: State, behaviour: Behaviour, faults: Faults, log: RequestLog) -> None:
        self._state = state
        self._faults = faults
        self._log = log
        self._platform = Platform(state, behaviour)
        self.relay = SandboxRelay(state, behaviour)
        self.control = Control(state, behaviour, faults, log, self.relay)
        self._api_host = HttpServer(_for_this_machine(self._answer_api))
        self._create_host = HttpServer(_for_this_machine(partial(self._answer, create_host=True)))

    async def start(self, api: socket.socket, create: socket.socket) -> None:
        """Start answering on two listening sockets."""
        await self._api_host.start(api)
        await self._create_host.start(create)

    async def stop(self) -> None:
        """Close both hosts. Requests in flight get half a second to end."""
        await asyncio.gather(self._api_host.stop(), self._create_host.stop())
        await self.relay.stop()

    async def _answer_api(self, request: HttpRequest) -> SandboxAnswer | None:
        if request.path == "/" or request.path.startswith("/sandbox"):
            return self.control.answer(request)
        return await self._answer(request, create_host=False)

    async def _answer(self, request: HttpRequest, create_host: bool) -> SandboxAnswer | None:
        self._log.started()
        method, path = request.method, request.path
        fields = _fields(request.headers.get("content-type", ""), request.body)
        call = route_call(create_host, method, path, fields or {})
        account = self._state.authenticate(request.headers.get("authorization", ""))
        outcome = "dropped"
        try:
            picked = self._faults.pick(call.endpoint, self._platform.phone(call, account), path)
            if picked is not None:
                outcome, answer = await self._inject(request, picked, call, account, fields is None)
                return answer
            reply = self._carry_out(call, account, fields is None)
            if reply.wait:
                await asyncio.sleep(reply.wait)
            outcome = str(reply.answer.status)
            return reply.answer
        finally:
            uid = account.uid if account else ""
            self._log.ended(call.endpoint, method, path, uid, outcome, fields)

    def _carry_out(self, call: Call, account: SandboxAccount | None, malformed: bool) -> SandboxReply:
        if malformed and account is not None and call.endpoint != "unknown":
            return SandboxReply(bad_request("The body is not a JSON object"))
        reply = self._platform.carry_out(call, account)
        if reply.message is not None:
            self.relay.announce(reply.message)
        return reply

    async def _inject(
        self,
        request: HttpRequest,
        picked: tuple[int, Fault],
        call: Call,
        account: SandboxAccount | None,
        malformed: bool,
    ) -> tuple[str, SandboxAnswer | None]:
        """Apply a fault to a request. Return the outcome for the log, and the answer."""
        number, fault = picked
        phone = self._platform.phone(call, account)
        reply = None
        if fault.moment == "before":
            await asyncio.sleep(fault.delay_ms / 1000)
        if fault.moment == "after" or fault.action == "delay":
            reply = self._carry_out(call, account, malformed)
        # Logged before the client notices, so that whoever sees the effect finds the cause in the log.
        self._log.injected(_injection(number, fault, call, phone, reply))
        if fault.moment == "after":
            await asyncio.sleep(fault.delay_ms / 1000)
        if fault.action == "drop":
            request.drop(fault.reset)
            return "dropped", None
        if fault.action == "truncate" and reply is not None:
            request.truncate(reply.answer)
            return "truncated", None
        if fault.action == "huge" and reply is not None:
            request.announce(reply.answer, HUGE_BYTES)
            return "huge", None
        if fault.action == "other":
            return "other", self._platform.other_contact(call, account).answer
        answer = reply.answer if fault.action == "delay" and reply is not None else fault.answer()
        return "garbage" if fault.action == "garbage" else str(answer.status), answer


def _fields(content_type: str, body: bytes) -> dict[str, Any] | None:
    """Return the JSON object in ``body``, None if it is not one. Ignore other content types, as most servers do."""
    if not body or "json" not in content_type:
        return {}
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return fields if isinstance(fields, dict) else None


def _injection(number: int, fault: Fault, call: Call, phone: str, reply: SandboxReply | None) -> Injection:
    contact_id, message_id = "", ""
    if reply is not None:
        contact_id = reply.contact_id
        message_id = reply.message.id if reply.message else ""
    written = bool(contact_id or message_id)
    return Injection(number, fault.action, fault.moment, call.endpoint, phone, written, contact_id, message_id)


def _for_this_machine(handler: Handler) -> Handler:
    """Refuse requests to other host names: a web page whose name leads to this machine must not use the sandbox."""

    async def answer(request: HttpRequest) -> SandboxAnswer | None:
        if is_local_name(request.headers.get("host", "")):
            return await handler(request)
        return error_envelope(421, "Misdirected request", "The sandbox answers only for this machine's names.")

    return answer


def is_local_name(host: str) -> bool:
    """Return True for ``localhost``, an IP address, or a name without a dot, such as that of a container.

    A name of the public internet has a dot, and can lead to any address. No name: not from a browser.
    """
    name, _, after = host[1:].partition("]") if host.startswith("[") else (host.partition(":")[0], "", "")
    if after and not after.startswith(":"):
        return False
    name = name.rstrip(".").lower()
    if "." not in name or name.endswith(_NEVER_PUBLIC):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True

"""Requests in, answers out: the platform and the faults, put on two aiohttp servers. Lives on one event loop."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import orjson
from aiohttp import web

from worker.sandbox.answers import Answer, refusal
from worker.sandbox.behaviour import Behaviour
from worker.sandbox.control import Control
from worker.sandbox.faults import Fault, Faults, Injection
from worker.sandbox.log import Log
from worker.sandbox.platform import Call, Platform, Reply, resolve
from worker.sandbox.relay import Relay
from worker.sandbox.state import Account, State

SHUTDOWN_SECONDS = 0.5
_RST_ON_CLOSE = struct.pack("ii", 1, 0)


class Service:
    """The platform behind its two hosts."""

    def __init__(self, state: State, behaviour: Behaviour, faults: Faults, log: Log) -> None:
        self._state = state
        self._faults = faults
        self._log = log
        self._platform = Platform(state, behaviour)
        self.relay = Relay(state, behaviour)
        self.control = Control(state, behaviour, faults, log, self.relay)

    async def start(self, api: socket.socket, create: socket.socket) -> None:
        """Answer on two listening sockets."""
        await self.relay.start()
        self._runners = [await _listen(self._api_host, api), await _listen(self._create_host, create)]

    async def stop(self) -> None:
        """Close both hosts; what is in flight has half a second."""
        await asyncio.gather(*(runner.cleanup() for runner in self._runners))
        await self.relay.stop()

    async def _api_host(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/" or request.path.startswith("/sandbox"):
            return _response(await self.control.answer(request))
        return await self._answer(request, create_host=False)

    async def _create_host(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._answer(request, create_host=True)

    async def _answer(self, request: web.BaseRequest, create_host: bool) -> web.StreamResponse:
        try:
            body = await request.read()
        except ConnectionResetError:  # the caller vanished before it had asked for anything
            return web.Response(status=400)
        self._log.started()
        method, path = request.method, request.path
        fields = _fields(request.headers.get("Content-Type", ""), body)
        call = resolve(create_host, method, path, fields or {})
        account = self._state.authenticate(request.headers.get("Authorization", ""))
        outcome = "dropped"
        try:
            picked = self._faults.pick(call.endpoint, self._platform.phone(call, account), path)
            if picked is not None:
                outcome, response = await self._hit(request, picked, call, account, fields is None)
                return response
            reply = self._carry_out(call, account, fields is None)
            if reply.wait:
                await asyncio.sleep(reply.wait)
            outcome = str(reply.answer.status)
            return _response(reply.answer)
        finally:
            uid = account.uid if account else ""
            self._log.ended(call.endpoint, method, path, uid, outcome, fields)

    def _carry_out(self, call: Call, account: Account | None, malformed: bool) -> Reply:
        if malformed and account is not None and call.endpoint != "unknown":
            return Reply(refusal("The body is not a JSON object"))
        reply = self._platform.carry_out(call, account)
        if reply.message is not None:
            self.relay.announce(reply.message)
        return reply

    async def _hit(
        self, request: web.BaseRequest, picked: tuple[int, Fault], call: Call, account: Account | None, malformed: bool
    ) -> tuple[str, web.StreamResponse]:
        """What the fault makes of the request: the outcome for the log, and the response."""
        number, fault = picked
        phone = self._platform.phone(call, account)
        reply = None
        if fault.moment == "before":
            await asyncio.sleep(fault.delay_ms / 1000)
        if fault.moment == "after" or fault.action == "delay":
            reply = self._carry_out(call, account, malformed)
        # Noted before the client can know, so that whoever has seen the effect finds the cause.
        self._log.injected(_injection(number, fault, call, phone, reply))
        if fault.moment == "after":
            await asyncio.sleep(fault.delay_ms / 1000)
        if fault.action == "drop":
            return "dropped", _drop(request, fault.reset)
        if fault.action == "truncate" and reply is not None:
            return "truncated", _truncate(request, reply.answer)
        answer = reply.answer if fault.action == "delay" and reply is not None else fault.answer()
        return "garbage" if fault.action == "garbage" else str(answer.status), _response(answer)


async def _listen(handler: Any, listener: socket.socket) -> web.ServerRunner:
    runner = web.ServerRunner(web.Server(handler, access_log=None), shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    await web.SockSite(runner, listener, backlog=1024).start()
    return runner


def _fields(content_type: str, body: bytes) -> dict[str, Any] | None:
    """The JSON object in ``body``, None when it is not one. Anything not called JSON is not read, as web servers do."""
    if not body or "json" not in content_type:
        return {}
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return fields if isinstance(fields, dict) else None


def _injection(number: int, fault: Fault, call: Call, phone: str, reply: Reply | None) -> Injection:
    contact_id, message_id = "", ""
    if reply is not None:
        contact_id = reply.contact_id
        message_id = reply.message.id if reply.message else ""
    written = bool(contact_id or message_id)
    return Injection(number, fault.action, fault.moment, call.endpoint, phone, written, contact_id, message_id)


def _response(answer: Answer) -> web.Response:
    headers = {"Content-Type": answer.content_type, **answer.headers}
    return web.Response(status=answer.status, body=answer.body, headers=headers)


def _drop(request: web.BaseRequest, reset: bool) -> web.StreamResponse:
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if reset and connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        transport.abort()
    return web.Response()  # goes nowhere: the connection is closed


def _truncate(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    head = f"HTTP/1.1 {answer.status} OK\r\nContent-Type: {answer.content_type}\r\n"
    head += f"Content-Length: {len(answer.body)}\r\n\r\n"
    if request.transport is not None:
        request.transport.write(head.encode() + answer.body[: len(answer.body) // 2])
        request.transport.close()
    return web.Response()  # goes nowhere: the connection is closing

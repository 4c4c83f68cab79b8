"""A fake VirtualText that answers at once, to measure clients, not to test behaviour.

    python bench/fake_server.py [--port 0] [--latency-ms 0]

It prints its port on a line and then answers every request with 200. The body is a success for every call: a receipt
and a contact in one, with the fields that were sent. The contact list is empty. ``GET /bench/counts`` returns, without
latency, how many contacts were created and how many were updated since the previous such request.
"""

from __future__ import annotations

import argparse
import asyncio

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
EMPTY_LIST = b'{"contacts":[]}'
SUCCESS = b'{"status":"true","id":"c1","fullName":"A","phoneNumber":"+14155552671","email":""}'
NUMBER = b'"phoneNumber":"+'


class Responder(asyncio.Protocol):
    """One connection: finds the end of each request and writes the answer after the latency."""

    created = updated = 0

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := request_end(self._received)) is not None:
            request, self._received = self._received[:end], self._received[end:]
            body = _body(request)
            answer = ANSWER % (len(body), body)
            Responder.created += request.startswith(b"POST /api/contacts ")
            Responder.updated += request.startswith(b"POST /api/contacts/")
            if request.startswith(b"GET /bench/counts "):
                self._transport.write(_counts())
            elif self._latency:
                asyncio.get_running_loop().call_later(self._latency, self._transport.write, answer)
            else:
                self._transport.write(answer)


def _body(request: bytes) -> bytes:
    """Return the body of the answer. A contact has the fields that were sent, and an id of its own: its number."""
    if request.startswith(b"GET /api/contacts "):
        return EMPTY_LIST
    if not request.startswith(b"POST /api/contacts") or (at := request.find(NUMBER)) < 0:
        return SUCCESS
    sent = request[request.find(b"\r\n\r\n") + 4 :]
    number = request[at + len(NUMBER) : request.find(b'"', at + len(NUMBER))]
    return b'{"id":"%s",%s' % (number, sent[1:])


def _counts() -> bytes:
    body = b"[%d, %d]" % (Responder.created, Responder.updated)
    Responder.created = Responder.updated = 0
    return ANSWER % (len(body), body)


def request_end(received: bytes) -> int | None:
    """Return the end of the first request in ``received``; None while it is incomplete."""
    head_end = received.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    at = received[:head_end].lower().find(b"\r\ncontent-length:")
    length = 0 if at < 0 else int(received[at + 17 : head_end].split(b"\r\n", 1)[0])
    end = head_end + 4 + length
    return end if len(received) >= end else None


async def serve(port: int, latency: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Responder(latency), "127.0.0.1", port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.latency_ms / 1000))

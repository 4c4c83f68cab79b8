"""What uvicorn alone would wait for, lose or answer in words of its own, over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from worker.web import protocol

BIG = b"x" * 4_000_000
POST = b"POST /echo HTTP/1.1\r\nHost: x\r\n"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """``/big`` is a long answer, ``/slow`` takes two seconds, anything else gives the body back."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    if scope["path"] == "/slow":
        await asyncio.sleep(2)
    answer = BIG if scope["path"] == "/big" else body
    length = str(len(answer)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": answer})


@contextmanager
def serving(limit: int) -> Iterator[uvicorn.Server]:
    """A server for ``limit`` connections."""
    config = uvicorn.Config(
        app, port=0, http=protocol.BoundedHttp, ws="none", log_config=None, lifespan="off", backlog=2048
    )
    config.limit_concurrency = limit
    made = uvicorn.Server(config)
    thread = threading.Thread(target=made.run)
    thread.start()
    while not made.started:
        time.sleep(0.01)
    yield made
    made.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[uvicorn.Server]:
    patch = pytest.MonkeyPatch()
    patch.setattr(protocol, "HEAD_SECONDS", 0.3)
    patch.setattr(protocol, "READ_SECONDS", 0.3)
    with serving(8) as made:
        yield made
    patch.undo()


@pytest.fixture
def port(server: uvicorn.Server) -> int:
    return int(server.servers[0].sockets[0].getsockname()[1])


def talk(port: int, *pieces: bytes, pause: float = 0.05, seconds: float = 2.0) -> bytes:
    """Send pieces; what comes until the server closes the connection, or ``seconds`` after the last piece."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
            while chunk := connection.recv(65536):
                received += chunk
        except TimeoutError:
            return received + b"[still open]"
        except ConnectionError:
            return received
    return received


def problem(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    assert b"connection: close" in head.lower()
    read = json.loads(body)
    assert head.split(b" ", 2)[1] == str(read["status"]).encode()
    return read["status"], read["type"]


@pytest.mark.parametrize(
    "request_",
    [
        b"hello\r\n\r\n",
        b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ],
)
def test_what_is_not_http_is_told_so_as_a_problem(port: int, request_: bytes) -> None:
    assert problem(talk(port, request_)) == (400, "/problems/not_http")


def test_a_head_that_comes_too_slowly_or_never_ends_is_refused(port: int) -> None:
    assert problem(talk(port, b"GET / HTTP/1.1\r\n", b"X: 1\r\n", pause=0.2)) == (408, "/problems/request_timeout")
    endless = [b"X: " + b"y" * 30_000 + b"\r\n"] * 3
    assert problem(talk(port, b"GET / HTTP/1.1\r\n", *endless, pause=0.01)) == (431, "/problems/head_too_large")


def test_a_head_in_pieces_that_comes_in_time_is_read(port: int) -> None:
    answer = talk(port, POST, b"Content-Length: 2\r\nConnection: close\r\n", b"\r\n", b"{", b"}")
    assert answer.endswith(b"\r\n\r\n{}")


def test_silence_ends_a_connection(port: int) -> None:
    assert talk(port) == b""


def test_blank_lines_after_an_answer_keep_no_connection_open(port: int) -> None:
    answer = talk(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n")
    assert b" 200 " in answer
    assert not answer.endswith(b"[still open]")


@pytest.mark.parametrize("together", [True, False])
def test_an_offer_to_upgrade_costs_no_body(port: int, together: bool) -> None:
    offer = POST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
    offer += b"Content-Length: 5\r\n\r\n"
    last = POST + b"Connection: close\r\nContent-Length: 4\r\n\r\nlast"
    pieces = [offer, b"fir", b"st" + offer + b"other", last]
    if together:
        pieces = [offer + b"first" + offer + b"other" + last]
    answers = talk(port, *pieces).split(b"HTTP/1.1 200 OK")
    assert [one.rpartition(b"\r\n\r\n")[2] for one in answers[1:]] == [b"first", b"other", b"last"]


def test_a_caller_that_does_not_read_its_answer_is_not_waited_for(port: int, server: uvicorn.Server) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", port))
        connection.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        deadline = time.monotonic() + 5
        while not server.server_state.connections and time.monotonic() < deadline:
            time.sleep(0.01)
        while server.server_state.connections and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not server.server_state.connections


def test_a_caller_that_reads_slowly_but_steadily_gets_everything(port: int) -> None:
    received = 0
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while chunk := connection.recv(400_000):
            received += len(chunk)
            time.sleep(0.02)
    assert received > len(BIG)


def test_more_callers_than_places_are_told_to_come_again(port: int) -> None:
    waiting = []
    for _ in range(8):
        waiting.append(socket.create_connection(("127.0.0.1", port)))
        waiting[-1].sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.02)  # until the request has come, the connection could be closed to make room
    try:
        answer = talk(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", pause=0.0)
    finally:
        for one in waiting:
            one.close()
    assert problem(answer) == (503, "/problems/unavailable")
    assert b"retry-after: 1" in answer


IDLE = {
    "nothing is sent": b"",
    "a part of a head": b"POST /echo HTTP/1.1\r\nHost: x\r\n",
    "a part of a body": POST + b"Content-Length: 50\r\n\r\n{",
    "a part of a body, in chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "an answered request, kept open": POST + b"Content-Length: 2\r\n\r\n{}",
}
"""How a connection is held without a complete request."""


@pytest.mark.parametrize("sent", IDLE.values(), ids=IDLE.keys())
def test_whoever_holds_connections_keeps_nobody_out(sent: bytes) -> None:
    whole = POST + b"Connection: close\r\nContent-Length: 4\r\n\r\nhere"
    with serving(1000) as server, ExitStack() as held:
        port = int(server.servers[0].sockets[0].getsockname()[1])
        for _ in range(1100):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", port)))
            try:
                connection.sendall(sent)
            except ConnectionError:  # the server closed it to make room
                continue
        for source in ("127.0.0.2", "127.0.0.1", "127.0.0.2"):
            with socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0)) as caller:
                caller.sendall(whole)
                answer = b""
                while chunk := caller.recv(65536):
                    answer += chunk
            assert answer.endswith(b"\r\n\r\nhere"), source


def test_no_room_is_made_before_it_is_needed() -> None:
    """A proxy is one address for all its callers: what it keeps open for later stays open."""
    with serving(1000) as server, ExitStack() as held:
        port = int(server.servers[0].sockets[0].getsockname()[1])
        kept = [held.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(600)]
        for connection in kept:
            connection.sendall(POST + b"Content-Length: 2\r\n\r\n{}")
        for connection in kept:
            connection.settimeout(10)
            answer = b""
            while not answer.endswith(b"{}"):
                answer += connection.recv(65536)
        assert len(server.server_state.connections) == 600


def test_a_running_request_is_never_closed_to_make_room() -> None:
    with serving(20) as server, ExitStack() as held:
        port = int(server.servers[0].sockets[0].getsockname()[1])
        running = [held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)) for _ in range(5)]
        for connection in running:
            # The beginning of another request behind it changes nothing.
            connection.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" + POST + b"Content-Length: 5\r\n\r\n{")
        for _ in range(60):
            held.enter_context(socket.create_connection(("127.0.0.1", port)))
        for connection in running:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")

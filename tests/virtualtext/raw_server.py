"""A server that does exactly what a script says, byte by byte, over real sockets on the loopback."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

Behaviour = Callable[["Visit"], None]


@dataclass
class Visit:
    """One accepted connection, as a behaviour sees it."""

    sock: socket.socket
    server: RawServer
    buffer: bytes = b""

    def read_request(self) -> bytes | None:
        """A whole request, kept in ``server.requests``; None when the client closed."""
        while True:
            head, mark, rest = self.buffer.partition(b"\r\n\r\n")
            if mark:
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
                )
                if len(rest) >= length:
                    self.buffer = rest[length:]
                    request = head + mark + rest[:length]
                    self.server.requests.append(request)
                    return request
            received = self.sock.recv(65_536)
            if not received:
                return None
            self.buffer += received

    def reset(self) -> None:
        """End the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


@dataclass
class RawServer:
    """Accepts until closed; each connection is one thread that runs ``behaviour``."""

    behaviour: Behaviour
    tls: ssl.SSLContext | None = None
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> RawServer:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        # Closing alone would leave the thread in accept(): the next server may get the number of this descriptor, and
        # the thread would then take a connection of that server.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    def bodies(self) -> list[bytes]:
        return [request.partition(b"\r\n\r\n")[2] for request in self.requests]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._visit, args=(sock,), daemon=True).start()

    def _visit(self, sock: socket.socket) -> None:
        try:
            with self.tls.wrap_socket(sock, server_side=True) if self.tls else sock as stream:
                self.behaviour(Visit(stream, self))
        except OSError:
            pass  # the client went away, which many tests are about


def http(status: int, body: bytes | str = b"", *headers: str, reason: str = "Said") -> bytes:
    """A whole answer with its length."""
    raw = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} {reason}", f"Content-Length: {len(raw)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + raw


def answers(answer: bytes) -> Behaviour:
    """Answer every request of a connection with the same bytes."""

    def behave(visit: Visit) -> None:
        while visit.read_request() is not None:
            visit.sock.sendall(answer)

    return behave


def answers_once(answer: bytes) -> Behaviour:
    """Read a request, write the bytes, close."""

    def behave(visit: Visit) -> None:
        visit.read_request()
        visit.sock.sendall(answer)

    return behave


def resets_before_reading(visit: Visit) -> None:
    visit.sock.recv(1, socket.MSG_PEEK)  # the request is there, and nobody reads it
    visit.reset()


def resets_after_reading(visit: Visit) -> None:
    visit.read_request()
    visit.reset()


def stays_silent(visit: Visit) -> None:
    visit.read_request()
    visit.server.released.wait(30)


def drips(prefix: bytes, drop: bytes) -> Behaviour:
    """Send ``prefix``, then ``drop`` again and again, each time well within any single read's time-out."""

    def behave(visit: Visit) -> None:
        visit.read_request()
        visit.sock.sendall(prefix)
        while not visit.server.released.wait(0.02):
            visit.sock.sendall(drop)

    return behave

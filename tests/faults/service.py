"""A service that sends jobs over HTTP, through a proxy of sorts, and repeats each until it is taken."""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.servers import free_port, listens
from tests.harness import Fleet, until

PAUSE_SECONDS = 0.1


@dataclass
class Service:
    """Its jobs, and the processes that take them; ``answers`` counts what it was told, by status or error.

    Where one process refuses the connection the next is asked, as a proxy does it.
    """

    fleet: Fleet
    numbers: Sequence[str]
    pause: float = 0.0
    processes: int = 1
    answers: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        made = self.fleet.run("keys", "create", "service", "--scope", "messages:write")
        assert made.exit_code == 0, made.output
        self._key = made.stdout.strip()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._send_all, name="service", daemon=True)
        self._ports = [free_port() for _ in range(self.processes)]
        self.taken = 0

    def serve(self, which: int = 0) -> subprocess.Popen[bytes]:
        """Start one of the processes that take jobs, and wait until it does."""
        port = self._ports[which]
        process = self.fleet.start("web", "--port", str(port))
        until("the HTTP side", lambda: listens(port) or process.poll() is not None)
        return process

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def finish(self) -> None:
        """Wait until every job is taken."""
        until("every job to be taken", lambda: self.taken == len(self.numbers), 300)

    def give_up(self) -> None:
        """Send nothing more."""
        self._given_up.set()
        self._thread.join()

    def _send_all(self) -> None:
        for number in self.numbers:
            while not self._given_up.wait(self.pause):
                status = self._send(number)
                self.answers[status] += 1
                if status in ("202", "200"):
                    self.taken += 1
                    break
                self._given_up.wait(PAUSE_SECONDS)

    def _send(self, number: str) -> str:
        headers = {
            "Authorization": f"Bearer {self._key}",
            "Content-Type": "application/json",
            "Idempotency-Key": f"welcome-{number}",
        }
        body = json.dumps({"to": number, "message": "Hello from the service"}).encode()
        said = "nobody listens"
        for port in self._ports:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/messages", body, headers)
            try:
                with urllib.request.urlopen(request, timeout=15) as answer:
                    return str(answer.status)
            except urllib.error.HTTPError as error:
                return str(error.code)
            except OSError as error:
                said = type(getattr(error, "reason", error)).__name__
                if said != "ConnectionRefusedError":
                    return said
        return said

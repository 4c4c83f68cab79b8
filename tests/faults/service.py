"""A service that sends jobs over HTTP and repeats each until it is taken, as services do."""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.servers import free_port
from tests.fleet import Fleet, until

PAUSE_SECONDS = 0.1


@dataclass
class Service:
    """Its jobs, and the HTTP side that takes them; ``answers`` counts what it was told, by status or error."""

    fleet: Fleet
    numbers: Sequence[str]
    pause: float = 0.0
    answers: Counter[str] = field(default_factory=Counter)
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        made = self.fleet.run("keys", "create", "service")
        assert made.returncode == 0, made.stderr
        self._key = made.stdout.strip()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._send_all, name="service", daemon=True)
        self.taken = 0

    def start(self) -> subprocess.Popen[bytes]:
        """The HTTP side begins to run, and the service to send; when it runs already, another one in its place."""
        web = self.fleet.start("web", "--port", str(self.port))
        if not self._thread.is_alive() and not self.taken:
            self._thread.start()
        return web

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
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/messages", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return str(answer.status)
        except urllib.error.HTTPError as error:
            return str(error.code)
        except OSError as error:
            reason = getattr(error, "reason", error)
            return type(reason).__name__

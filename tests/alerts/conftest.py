"""A store, a fleet whose findings the test says, and real receivers: an SMTP server and a webhook."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword
from sqlalchemy import Row, select, update
from standardwebhooks.webhooks import Webhook

from config.models import Settings
from tests.messages.conftest import FakeClient, FakeRuntime
from worker.alerts.evaluate import evaluate
from worker.core.findings import Finding
from worker.deliveries.claims import DeliveryCounts
from worker.deliveries.fan_out import fan_out
from worker.deliveries.run import run_deliveries
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import delivery

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


@dataclass
class Heard:
    """What a receiver of JSON heard, and what it answers."""

    url: str = ""
    status: int = 200
    bodies: list[Any] = field(default_factory=list)
    signed: bool = True


@contextmanager
def hears(*, signed: bool) -> Iterator[Heard]:
    made = Heard(signed=signed)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if signed:
                Webhook(SECRET).verify(body, {key.lower(): value for key, value in self.headers.items()})
            made.bodies.append(orjson.loads(body))
            self.send_response(made.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}/alerts"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def hook() -> Iterator[Heard]:
    with hears(signed=True) as made:
        yield made


@pytest.fixture
def chat() -> Iterator[Heard]:
    with hears(signed=False) as made:
        yield made


class Mailbox:
    """A real SMTP server that keeps what it gets, or refuses it with ``answer``."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.answer = "250 OK"
        self.port = 0

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        if self.answer.startswith("250"):
            assert isinstance(envelope.content, bytes)
            mail = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(mail, EmailMessage)
            self.mails.append(mail)
        return self.answer

    @property
    def subjects(self) -> list[str]:
        return [mail["Subject"] for mail in self.mails]


def _log_in(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
    assert isinstance(given, LoginPassword)
    return AuthResult(success=(given.login, given.password) == (b"ops", b"right"), handled=False)


class _OnAnyPort(Controller):  # type: ignore[misc]
    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def mail_server(**options: Any) -> Iterator[Mailbox]:
    box = Mailbox()
    controller = _OnAnyPort(box, hostname="127.0.0.1", port=0, **options)
    controller.start()
    box.port = controller.port
    yield box
    controller.stop()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as box:
        yield box


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    command = [*make.split(), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def server_context(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    return context


LOGIN = {"authenticator": _log_in, "auth_required": True, "auth_require_tls": True}


@dataclass
class Watch:
    """Short words for what the tests do: findings at a time, and the deliveries."""

    runtime: FakeRuntime
    findings: list[Finding] = field(default_factory=list)
    now: datetime = NOON

    def configure(self, channels: dict[str, Any], **alerts: Any) -> None:
        whole = {"alerts": {"channels": channels, **alerts}, "subscribers": {}}
        self.runtime.settings = Settings.model_validate(whole)

    def look(self, *findings: Finding, after: timedelta = timedelta(minutes=1), at: datetime | None = None) -> bool:
        """Some time later, these findings are there. Return whether there is something to deliver."""
        self.now = at or self.now + after

        def stated(_: Runtime) -> list[Finding]:
            return list(findings)

        return evaluate(self.runtime, self.now, [stated])

    def deliver(self) -> DeliveryCounts:
        while fan_out(self.runtime):
            pass
        with writing(self.runtime.engine) as db:
            db.execute(update(delivery).values(due_at=utcnow() - timedelta(seconds=1)))
        return run_deliveries(self.runtime, 1000)

    def rows(self, table: Any) -> list[Row[Any]]:
        with reading(self.runtime.engine) as db:
            return list(db.execute(select(table).order_by(table.c.id)))


@pytest.fixture
def watch(engine: Any) -> Watch:
    return Watch(FakeRuntime(engine, FakeClient()))


def email_to(box: Mailbox, **more: Any) -> dict[str, Any]:
    """The channel of a server without encryption, on this machine."""
    where = {"kind": "email", "host": "127.0.0.1", "port": box.port, "security": "none"}
    return where | {"sender": "vtsync@example.com", "to": ["ops@example.com", "boss@example.com"]} | more


def webhook_to(hook: Heard, **more: Any) -> dict[str, Any]:
    return {"kind": "webhook", "url": hook.url, "secret": SECRET} | more

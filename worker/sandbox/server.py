"""The whole sandbox: two hosts, run in a thread (for tests) or in the foreground (for people)."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import orjson

from worker.sandbox.behaviour import Behaviour
from worker.sandbox.control import Inbound
from worker.sandbox.faults import Fault, Faults, Injection
from worker.sandbox.log import LoggedRequest, RequestLog
from worker.sandbox.service import Service
from worker.sandbox.state import DEFAULT_ACCOUNT, ContactJson, SandboxAccount, SandboxMessage, State

START_SECONDS = 10
T = TypeVar("T")


class Sandbox:
    """A VirtualText on two local ports. Its own event loop and thread run between ``start`` and ``stop``, or ``with``.

    Its methods may be called from any thread. Port 0 stands for a free one. The sockets are bound at once, so the URLs
    are valid before ``start``. Raises OSError if a port is taken. ``any_credentials`` accepts any uid with any token;
    such an account may send from any number.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        api_port: int = 0,
        create_port: int = 0,
        accounts: Iterable[SandboxAccount] = (DEFAULT_ACCOUNT,),
        any_credentials: bool = False,
        relay_url: str = "",
        seed: int = 0,
    ) -> None:
        self._listeners = _bound(host, api_port, create_port)
        api, create = (_url(listener) for listener in self._listeners)
        self.api_url, self.create_url, self.page_url = api, create, f"{api}/"
        self.behaviour = Behaviour()
        self.state = State(accounts, any_credentials, relay_url)
        self._faults = Faults(seed)
        self._log = RequestLog()
        self._service = Service(self.state, self.behaviour, self._faults, self._log)
        self._started = threading.Event()
        self._thread: threading.Thread | None = None

    # start and stop

    def start(self) -> Self:
        """Start answering, in a background thread."""
        self._thread = threading.Thread(target=lambda: asyncio.run(self.run()), name="sandbox", daemon=True)
        self._thread.start()
        if not self._started.wait(START_SECONDS):
            raise RuntimeError("the sandbox did not start")
        return self

    def stop(self) -> None:
        """Close both hosts and end the thread. Calling it again does nothing."""
        thread, self._thread = self._thread, None
        if thread is None:
            for listener in self._listeners:
                listener.close()
        else:
            self._loop.call_soon_threadsafe(self._over.set)
            thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Answer on the running loop until ``end`` is called. Call ``ready`` once both hosts listen."""
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        await self._service.start(*self._listeners)
        try:
            self._started.set()
            ready()
            await self._over.wait()
        finally:
            await self._service.stop()

    def end(self) -> None:
        """Let ``run`` return. Call it on the same loop."""
        self._over.set()

    # inspection

    def contacts(self, account: str | None = None) -> list[ContactJson]:
        """Return all contacts, oldest first."""
        return self.state.contacts(account)

    def messages(self, kind: str = "") -> list[SandboxMessage]:
        """Return the texts of a kind ("sent_by_platform", "recorded", "inbound") or of all kinds, oldest first."""
        return [message for message in list(self.state.messages) if kind in ("", message.kind)]

    def requests(self, endpoint: str = "") -> list[LoggedRequest]:
        """Return the latest 100,000 requests, oldest first."""
        return self._log.requests(endpoint)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of requests by endpoint and outcome, such as ``{"send": {"200": 3, "dropped": 1}}``."""
        return self._log.counts()

    def injections(self) -> list[Injection]:
        """Return the requests that a fault has hit, oldest first."""
        return self._log.injections()

    def forget_requests(self) -> None:
        """Delete the log of requests. Contacts and texts stay."""
        self._log.reset()

    def summary(self) -> dict[str, Any]:
        """Return the same as GET /sandbox/state."""
        return self._service.control.summary()

    # changes on the side of the platform

    def seed_contacts(self, contacts: Iterable[tuple[str, str, str]], account: str | None = None) -> list[str]:
        """Create contacts (phone, full name, email) and return their ids."""
        uid = account or next(iter(self.state.accounts))
        return [self.state.create_contact(uid, *contact)["id"] for contact in contacts]

    def edit_contact(
        self, contact_id: str, phone: str, full_name: str = "", email: str | None = None, account: str | None = None
    ) -> None:
        """Do what a person does in the web app. Raises KeyError for an unknown id."""
        uid = account or next(iter(self.state.accounts))
        if self.state.update_contact(uid, contact_id, phone, full_name, email) is None:
            raise KeyError(contact_id)

    def delete_contact(self, contact_id: str) -> None:
        """Do what a person does in the web app. Raises KeyError for an unknown id."""
        if not self.state.delete_contact(contact_id):
            raise KeyError(contact_id)

    def opt_out(self, phone: str, account: str | None = None) -> None:
        """Answer 451 to texts to ``phone`` from now on."""
        self.state.opt_out(account or next(iter(self.state.accounts)), phone)

    def inbound(
        self, from_number: str, text: str, *, to: str = "", media: Sequence[str] = (), account: str = ""
    ) -> SandboxMessage:
        """Store a text of a customer. STOP and START change the opt-out."""
        inbound = Inbound(from_number=from_number, to=to, text=text, media=list(media), account=account)
        return self._on_loop(lambda: self._service.control.inbound(inbound))

    def add_fault(self, fault: Fault | None = None, **fields: Any) -> int:
        """Activate a fault, given as such or as its fields, and return its number."""
        return self._faults.add(fault or Fault(**fields))

    def remove_faults(self, number: int | None = None) -> int:
        """Remove one fault, or all. Return how many."""
        return self._faults.remove(number)

    def reset(self) -> None:
        """Restore the state of a new sandbox."""
        self._on_loop(self._service.control.reset)

    def wait_for_relay(self, seconds: float = 10) -> None:
        """Return once all events of the messages so far are posted. Raises TimeoutError."""
        until = time.monotonic() + seconds
        while self._service.relay.waiting:
            if time.monotonic() > until:
                raise TimeoutError(f"{self._service.relay.waiting} messages are not posted yet")
            time.sleep(0.005)

    def _on_loop(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(START_SECONDS)


def serve(
    host: str = "127.0.0.1",
    api_port: int = 8700,
    create_port: int = 8701,
    accounts: Sequence[SandboxAccount] = (DEFAULT_ACCOUNT,),
    *,
    any_credentials: bool = False,
    relay_url: str = "",
    seed: int = 0,
    list_limit: int | None = None,
    ready_file: Path | None = None,
    say: Callable[[str], object] | None = None,
) -> None:
    """Run a sandbox in the foreground until SIGINT or SIGTERM. Raises OSError.

    ``say`` prints the welcome message. ``ready_file`` is written atomically once both hosts listen, and removed at the
    end.
    """
    show = say or partial(print, flush=True)
    sandbox = Sandbox(
        host=host,
        api_port=api_port,
        create_port=create_port,
        accounts=accounts,
        any_credentials=any_credentials,
        relay_url=relay_url,
        seed=seed,
    )
    if list_limit is not None:
        sandbox.behaviour.list_limit = list_limit

    def ready() -> None:
        if ready_file is not None:
            _write_ready(ready_file, sandbox)
        show(_welcome(sandbox, next(iter(accounts), None), any_credentials))

    async def until_stopped() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, sandbox.end)
        await sandbox.run(ready)

    try:
        asyncio.run(until_stopped())
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)


def _write_ready(path: Path, sandbox: Sandbox) -> None:
    ready = {
        "api_url": sandbox.api_url,
        "create_url": sandbox.create_url,
        "page_url": sandbox.page_url,
        "pid": os.getpid(),
    }
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_bytes(orjson.dumps(ready))
    unfinished.replace(path)


def _welcome(sandbox: Sandbox, account: SandboxAccount | None, any_credentials: bool) -> str:
    uid, token, number = "any", "any", "any number"
    if account is not None and not any_credentials:
        uid, number = account.uid, account.numbers[0] if account.numbers else number
        # The default token is no secret; any other one is not shown.
        token = account.token if account == DEFAULT_ACCOUNT else "(your token)"
    return (
        f"The VirtualText sandbox is running. No text reaches a phone. Its page: {sandbox.page_url}\n"
        "\n"
        "In vtsync.toml:\n"
        "    [accounts.main]\n"
        '    uid = { env = "VTSYNC_UID" }\n'
        '    token = { env = "VTSYNC_TOKEN" }\n'
        f'    from_number = "{number}"\n'
        f'    api_url = "{sandbox.api_url}"\n'
        f'    create_url = "{sandbox.create_url}"\n'
        "In .env next to it:\n"
        f"    VTSYNC_UID={uid}\n"
        f"    VTSYNC_TOKEN={token}\n"
        "\n"
        "What vtsync does with it, as pages: `vtsync users create NAME --role admin`, then `vtsync web`.\n"
        "Ctrl-C stops it. It stores nothing."
    )


def _bound(host: str, *ports: int) -> list[socket.socket]:
    listeners: list[socket.socket] = []
    try:
        for port in ports:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listeners.append(socket.create_server((host, port), family=family, backlog=1024))
    except OSError as error:
        for listener in listeners:
            listener.close()
        raise OSError(error.errno, f"Cannot listen on {host} port {port}: {error.strerror}") from error
    return listeners


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

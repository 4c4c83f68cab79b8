"""The sandbox as a whole: two listening hosts, in a thread for tests or in the foreground for people."""

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
from worker.sandbox.log import Log, LoggedRequest
from worker.sandbox.service import Service
from worker.sandbox.state import DEFAULT_ACCOUNT, Account, ContactJson, Message, State

START_SECONDS = 10
T = TypeVar("T")


class Sandbox:
    """A VirtualText on two local ports, with an event loop and a thread of its own between ``start`` and ``stop``
    (or inside ``with``). Its methods may be called from any thread.

    Port 0 takes a free one; the sockets are bound at once, so the URLs are valid before ``start``. Raises OSError
    where a port is taken. ``any_credentials`` accepts any uid with any token; an
    account that comes to be so may send from any number.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        api_port: int = 0,
        create_port: int = 0,
        accounts: Iterable[Account] = (DEFAULT_ACCOUNT,),
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
        self._log = Log()
        self._service = Service(self.state, self.behaviour, self._faults, self._log)
        self._started = threading.Event()
        self._thread: threading.Thread | None = None

    # life

    def start(self) -> Self:
        """Answer, from a background thread."""
        self._thread = threading.Thread(target=lambda: asyncio.run(self.run()), name="sandbox", daemon=True)
        self._thread.start()
        if not self._started.wait(START_SECONDS):
            raise RuntimeError("the sandbox did not start")
        return self

    def stop(self) -> None:
        """Close both hosts and end the thread. May be called again."""
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
        """Answer until ``end`` is called, on the running loop. ``ready`` is called when both hosts listen."""
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
        """Let ``run`` return. To be called on its loop."""
        self._over.set()

    # what is there

    def contacts(self, account: str | None = None) -> list[ContactJson]:
        """All contacts, oldest first."""
        return self.state.contacts(account)

    def messages(self, kind: str = "") -> list[Message]:
        """All texts, oldest first: "sent_by_platform", "recorded", "inbound", or of every kind."""
        return [message for message in list(self.state.messages) if kind in ("", message.kind)]

    def requests(self, endpoint: str = "") -> list[LoggedRequest]:
        """The latest 100,000 requests, oldest first."""
        return self._log.requests(endpoint)

    def counts(self) -> dict[str, dict[str, int]]:
        """Requests by endpoint and outcome, such as ``{"send": {"200": 3, "dropped": 1}}``."""
        return self._log.counts()

    def injections(self) -> list[Injection]:
        """Requests that a fault hit, oldest first."""
        return self._log.injections()

    def forget_requests(self) -> None:
        """Count requests anew from here; what is stored stays."""
        self._log.reset()

    def summary(self) -> dict[str, Any]:
        """What GET /sandbox/state answers."""
        return self._service.control.summary()

    # what happens on the other side

    def seed_contacts(self, contacts: Iterable[tuple[str, str, str]], account: str | None = None) -> list[str]:
        """Contacts (phone, full name, email) that were there before; their ids."""
        uid = account or next(iter(self.state.accounts))
        return [self.state.create_contact(uid, *contact)["id"] for contact in contacts]

    def edit_contact(
        self, contact_id: str, phone: str, full_name: str = "", email: str | None = None, account: str | None = None
    ) -> None:
        """As a person in the web app would. Raises KeyError for an unknown id."""
        uid = account or next(iter(self.state.accounts))
        if self.state.update_contact(uid, contact_id, phone, full_name, email) is None:
            raise KeyError(contact_id)

    def delete_contact(self, contact_id: str) -> None:
        """As a person in the web app would. Raises KeyError for an unknown id."""
        if not self.state.delete_contact(contact_id):
            raise KeyError(contact_id)

    def opt_out(self, phone: str, account: str | None = None) -> None:
        """Texts to ``phone`` answer 451 from now on."""
        self.state.opt_out(account or next(iter(self.state.accounts)), phone)

    def inbound(
        self, from_number: str, text: str, *, to: str = "", media: Sequence[str] = (), account: str = ""
    ) -> Message:
        """A customer's text. STOP and START change the opt-out."""
        inbound = Inbound(from_number=from_number, to=to, text=text, media=list(media), account=account)
        return self._on_loop(lambda: self._service.control.inbound(inbound))

    def add_fault(self, fault: Fault | None = None, **fields: Any) -> int:
        """Put a fault into force, given as such or as its fields; its number."""
        return self._faults.add(fault or Fault(**fields))

    def remove_faults(self, number: int | None = None) -> int:
        """End one fault or all; how many were ended."""
        return self._faults.remove(number)

    def reset(self) -> None:
        """As freshly started."""
        self._on_loop(self._service.control.reset)

    def wait_for_relay(self, seconds: float = 10) -> None:
        """Return when every message so far is announced. Raises TimeoutError."""
        until = time.monotonic() + seconds
        while self._service.relay.waiting:
            if time.monotonic() > until:
                raise TimeoutError(f"{self._service.relay.waiting} messages are not announced yet")
            time.sleep(0.005)

    def _on_loop(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(START_SECONDS)


def serve(
    host: str = "127.0.0.1",
    api_port: int = 8700,
    create_port: int = 8701,
    accounts: Sequence[Account] = (DEFAULT_ACCOUNT,),
    *,
    any_credentials: bool = False,
    relay_url: str = "",
    seed: int = 0,
    list_limit: int | None = None,
    ready_file: Path | None = None,
    say: Callable[[str], object] | None = None,
) -> None:
    """Run a sandbox in the foreground until SIGINT or SIGTERM. ``say`` takes what there is to tell a person, print
    by default; ``ready_file`` is written, whole, when both hosts listen, and removed at the end. Raises OSError.
    """
    tell = say or partial(print, flush=True)
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
        tell(_welcome(sandbox, next(iter(accounts), None), any_credentials))

    async def until_told() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, sandbox.end)
        await sandbox.run(ready)

    try:
        asyncio.run(until_told())
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


def _welcome(sandbox: Sandbox, account: Account | None, any_credentials: bool) -> str:
    uid, token, number = "any", "any", "any number"
    if account is not None and not any_credentials:
        uid, number = account.uid, account.numbers[0] if account.numbers else number
        # The default token is no secret; one that was given is not repeated.
        token = account.token if account == DEFAULT_ACCOUNT else "(the token that you gave)"
    return (
        f"The VirtualText sandbox listens. Nothing that it takes reaches a phone. Its page: {sandbox.page_url}\n"
        "\n"
        "In vtsync.toml:\n"
        "    [accounts.main]\n"
        '    uid = { env = "VTSYNC_UID" }\n'
        '    token = { env = "VTSYNC_TOKEN" }\n'
        f'    from_number = "{number}"\n'
        f'    api_url = "{sandbox.api_url}"\n'
        f'    create_url = "{sandbox.create_url}"\n'
        "In .env beside it:\n"
        f"    VTSYNC_UID={uid}\n"
        f"    VTSYNC_TOKEN={token}\n"
        "\n"
        "Ctrl-C ends it; it keeps nothing."
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

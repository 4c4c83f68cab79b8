"""The sandbox's own API, which the platform does not have: inspection, faults, inbound texts, and the page.

It serves everything under /sandbox, and the page at /. It needs no credentials, because it is meant for its own
machine. Requests that change something must be JSON, so that a foreign web page cannot send them through the browser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.sandbox.answers import HTML, SandboxAnswer
from worker.sandbox.behaviour import Behaviour
from worker.sandbox.faults import Fault, Faults
from worker.sandbox.http import HttpRequest
from worker.sandbox.log import RequestLog
from worker.sandbox.relay import SandboxRelay
from worker.sandbox.state import Conversation, SandboxAccount, SandboxMessage, State

SHOWN_CONVERSATIONS = 200
SHOWN_MESSAGES = 300
PAGE_SIZE = 100
# The page loads nothing from elsewhere, whatever a text contains.
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"
)


class SandboxRefused(Exception):
    """The request to the sandbox itself is invalid. The message is for the person who sent it."""

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status


class ControlRequest(NamedTuple):
    """A request to the sandbox itself: the query, the JSON body, and the rest of the path."""

    query: Mapping[str, str]
    body: dict[str, Any]
    rest: str


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Inbound(_Body):
    """A text from a customer. ``to`` defaults to the number that the customer was last texted from."""

    from_number: str = Field(alias="from", pattern=r"^\+[1-9][0-9]{6,14}$")
    to: str = ""
    text: str = ""
    media: list[str] = []
    account: str = ""


class SeededContact(_Body):
    """A contact that exists already."""

    phone: str = Field(alias="phoneNumber", pattern=r"^\+[1-9][0-9]{6,14}$")
    full_name: str = Field("", alias="fullName")
    email: str = ""


class Seed(_Body):
    """Contacts that exist already."""

    account: str = ""
    contacts: list[SeededContact]


class Control:
    """Answers requests to the sandbox itself."""

    def __init__(
        self, state: State, behaviour: Behaviour, faults: Faults, log: RequestLog, relay: SandboxRelay
    ) -> None:
        self._state, self._behaviour, self._faults, self._log, self._relay = state, behaviour, faults, log, relay
        self._routes: dict[tuple[str, str], Callable[[ControlRequest], object]] = {
            ("GET", "state"): self._summary,
            ("GET", "contacts"): self._contacts,
            ("POST", "contacts"): self._seed,
            ("DELETE", "contacts"): self._delete_contact,
            ("GET", "messages"): self._messages,
            ("GET", "requests"): self._requests,
            ("GET", "injections"): self._injections,
            ("GET", "conversations"): self._conversations,
            ("GET", "conversation"): self._conversation,
            ("GET", "faults"): lambda _: {"faults": self._faults.as_json()},
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): self._remove_faults,
            ("GET", "behaviour"): lambda _: self._behaviour.model_dump(),
            ("POST", "behaviour"): self._switch,
            ("POST", "inbound"): self._inbound,
            ("POST", "reset"): self._reset,
        }

    def answer(self, request: HttpRequest) -> SandboxAnswer:
        """Answer a request for the page or for something under /sandbox."""
        try:
            if request.path == "/" and request.method == "GET":
                return _page()
            _, _, path = request.path.partition("/sandbox/")
            name, _, rest = path.partition("/")
            handler = self._routes.get((request.method, name))
            if handler is None:
                return SandboxAnswer(404, orjson.dumps({"error": "The sandbox has no such URL."}))
            result = handler(ControlRequest(request.query, _body(request), rest))
            return SandboxAnswer(204, b"") if result is None else SandboxAnswer(200, orjson.dumps(result))
        except SandboxRefused as refused:
            return SandboxAnswer(refused.status, orjson.dumps({"error": str(refused)}))
        except ValidationError as error:
            return SandboxAnswer(400, orjson.dumps({"error": _explained(error)}))

    # called on the event loop, also by tests

    def inbound(self, inbound: Inbound) -> SandboxMessage:
        """Store a customer's text and post it to the webhook. Raises SandboxRefused."""
        if not inbound.text.strip() and not inbound.media:
            raise SandboxRefused("A text from a customer needs text or media.")
        if not all(url.startswith(("http://", "https://")) for url in inbound.media):
            raise SandboxRefused("Media are URLs that start with http:// or https://.")
        account = self._account(inbound.account, inbound.to)
        to = inbound.to or self._answered_number(account, inbound.from_number)
        message = self._state.add_message(
            account.uid, "inbound", inbound.from_number, to, inbound.text, tuple(inbound.media)
        )
        self._relay.announce(message)
        return message

    def reset(self) -> None:
        """Delete all contacts, messages, faults, counts and webhooks, and set every switch to its default."""
        self._relay.forget()
        self._state.reset()
        self._faults.restart()
        self._log.reset()
        self._behaviour.restore()

    def summary(self) -> dict[str, Any]:
        """Return all counts."""
        with self._state.lock:
            return self._counted()

    def _counted(self) -> dict[str, Any]:
        state, messages = self._state, self._state.messages
        injections = self._log.injections()
        return {
            "version": state.version,
            "accounts": [self._account_summary(account) for account in state.accounts.values()],
            "contacts": sum(state.count_contacts(uid) for uid in state.accounts),
            "conversations": state.count_conversations(),
            "duplicate_phones": state.duplicate_phones(),
            "messages": {
                kind: sum(message.kind == kind for message in messages)
                for kind in ("sent_by_platform", "recorded", "inbound")
            },
            "duplicate_texts": state.duplicate_texts(),
            "opted_out": sorted(phone for _, phone in state.opt_outs),
            "requests": self._log.counts(),
            "in_flight": self._log.in_flight,
            "peak_in_flight": self._log.peak_in_flight,
            "faults": {
                "in_force": len(self._faults.as_json()),
                "injected": len(injections),
                "written_but_not_told": sum(i.written and i.action != "delay" for i in injections),
            },
            "relay": self._relay.counts(),
        }

    def _account_summary(self, account: SandboxAccount) -> dict[str, Any]:
        return {
            "uid": account.uid,
            "numbers": account.numbers,
            "contacts": self._state.count_contacts(account.uid),
            "webhook": _origin(self._state.webhook(account.uid)),
        }

    # routes

    def _summary(self, _request: ControlRequest) -> object:
        return self.summary()

    def _contacts(self, request: ControlRequest) -> object:
        phone, uid = request.query.get("phone", ""), request.query.get("account")
        found = [c for c in self._state.contacts(uid) if phone in ("", c["phoneNumber"])]
        return _slice("contacts", found, request.query)

    def _seed(self, request: ControlRequest) -> object:
        seed = Seed.model_validate(request.body)
        account = self._account(seed.account)
        contacts = [self._state.create_contact(account.uid, c.phone, c.full_name, c.email) for c in seed.contacts]
        return {"contacts": contacts}

    def _delete_contact(self, request: ControlRequest) -> object:
        if not self._state.delete_contact(request.rest):
            raise SandboxRefused("There is no contact with this id.", 404)
        return {"deleted": request.rest}

    def _messages(self, request: ControlRequest) -> object:
        phone, kind = request.query.get("phone", ""), request.query.get("kind", "")
        found = [
            {"conversation": message.phone, **_message(message)}
            for message in list(self._state.messages)
            if phone in ("", message.phone) and kind in ("", message.kind)
        ]
        return _slice("messages", found, request.query)

    def _requests(self, request: ControlRequest) -> object:
        return _slice("requests", self._log.requests(request.query.get("endpoint", "")), request.query)

    def _injections(self, request: ControlRequest) -> object:
        return _slice("injections", self._log.injections(), request.query)

    def _conversations(self, request: ControlRequest) -> object:
        state = self._state
        version = f"{state.version}.{self._log.count_injections()}.{self._relay.failed}"
        if request.query.get("version") == version:
            return None
        found = state.conversations(request.query.get("q", ""), SHOWN_CONVERSATIONS)
        return {
            "version": version,
            "summary": self.summary(),
            "conversations": [self._entry(conversation) for conversation in found],
        }

    def _entry(self, conversation: Conversation) -> dict[str, Any]:
        uid, phone = conversation.account, conversation.phone
        contact = self._state.contact_of(uid, phone)
        last = conversation.messages[-1] if conversation.messages else None
        return {
            "account": uid,
            "phone": phone,
            "name": contact["fullName"] if contact else "",
            "email": contact["email"] if contact else "",
            "contacts": self._state.count_contacts_of(uid, phone),
            "opted_out": (uid, phone) in self._state.opt_outs,
            "at": conversation.at,
            "messages": len(conversation.messages),
            "last": _message(last) if last else None,
        }

    def _conversation(self, request: ControlRequest) -> object:
        conversation = self._state.conversation(request.query.get("account", ""), request.query.get("phone", ""))
        if conversation is None:
            raise SandboxRefused("There is no conversation with this number.", 404)
        shown = [_message(message) for message in conversation.messages[-SHOWN_MESSAGES:]]
        return {**self._entry(conversation), "shown": shown}

    def _add_fault(self, request: ControlRequest) -> object:
        return {"id": self._faults.add(Fault.model_validate(request.body))}

    def _remove_faults(self, request: ControlRequest) -> object:
        if request.rest and not request.rest.isdecimal():
            raise SandboxRefused("The id of a fault is a number.")
        removed = self._faults.remove(int(request.rest) if request.rest else None)
        if request.rest and not removed:
            raise SandboxRefused("There is no fault with this id.", 404)
        return {"removed": removed}

    def _switch(self, request: ControlRequest) -> object:
        self._behaviour.switch(request.body)
        return self._behaviour.model_dump()

    def _inbound(self, request: ControlRequest) -> object:
        return _message(self.inbound(Inbound.model_validate(request.body)))

    def _reset(self, _request: ControlRequest) -> object:
        self.reset()
        return {"reset": True}

    def _account(self, uid: str, number: str = "") -> SandboxAccount:
        accounts = self._state.accounts
        if uid:
            if uid not in accounts:
                raise SandboxRefused(f"There is no account {uid!r}.")
            return accounts[uid]
        if owner := next((account for account in accounts.values() if number in account.numbers), None):
            return owner
        if number and all(account.numbers for account in accounts.values()):
            raise SandboxRefused("The receiver of the text belongs to no account.")
        if len(accounts) != 1:
            raise SandboxRefused("There are several accounts: name one with `account`.")
        return next(iter(accounts.values()))

    def _answered_number(self, account: SandboxAccount, customer: str) -> str:
        conversation = self._state.conversation(account.uid, customer)
        last = conversation.messages[-1] if conversation and conversation.messages else None
        if last:
            return last.to if last.kind == "inbound" else last.from_number
        if not account.numbers:
            raise SandboxRefused("Name the receiving number with `to`.")
        return account.numbers[0]


def _body(request: HttpRequest) -> dict[str, Any]:
    if request.method == "GET":
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise SandboxRefused("Send Content-Type: application/json.", 415)
    try:
        body = orjson.loads(request.body or b"{}")
    except orjson.JSONDecodeError as error:
        raise SandboxRefused(f"The body is not JSON: {error}.") from None
    if not isinstance(body, dict):
        raise SandboxRefused("The body is not a JSON object.")
    return body


def _slice(name: str, found: list[Any], query: Mapping[str, str]) -> dict[str, Any]:
    """Return ``limit`` items of ``found`` from ``offset`` on, and the total."""
    offset, limit = query.get("offset", "0"), query.get("limit", str(PAGE_SIZE))
    if not offset.isdecimal() or not limit.isdecimal():
        raise SandboxRefused("offset and limit are whole numbers.")
    return {"total": len(found), name: found[int(offset) : int(offset) + int(limit)]}


def _message(message: SandboxMessage) -> dict[str, Any]:
    return {
        "id": message.id,
        "account": message.account,
        "kind": message.kind,
        "from": message.from_number,
        "to": message.to,
        "text": message.text,
        "media": message.media,
        "at": message.at,
    }


def _origin(url: str) -> str:
    """Return the host of a webhook. Path and query are left out, as they may contain a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if url else ""


def _explained(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'body'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    )


@cache
def _page() -> SandboxAnswer:
    page = (files(__package__) / "page.html").read_bytes()
    return SandboxAnswer(200, page, HTML, {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-store"})

"""What VirtualText answers to a call, and what it stores. No sockets, no faults.

The documented calls, and what was observed beyond the documentation; a rule that is neither says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from worker.sandbox.answers import Answer, failure, gateway, refusal, success
from worker.sandbox.behaviour import Behaviour
from worker.sandbox.faults import Endpoint
from worker.sandbox.state import Account, Message, State

VERSION = "sandbox"
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_CONTACTS = "/api/contacts"
_WEBHOOK = re.compile(r"/api/users/([^/]+)/webhook")
_UNDOCUMENTED = ("sendAt", "notify", "type")
"""Fields of other brands of the platform, absent from VirtualText's page: refused, since ignoring them could text."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request. ``argument`` is the id in its path; ``fields`` its JSON object, empty where there was none."""

    endpoint: Endpoint
    argument: str
    fields: dict[str, Any]


class Reply(NamedTuple):
    """The answer, with what was written: a contact's id or a message. ``wait`` is in seconds, before it is sent."""

    answer: Answer
    contact_id: str = ""
    message: Message | None = None
    wait: float = 0


def resolve(create_host: bool, method: str, path: str, fields: dict[str, Any]) -> Call:
    """Which call a request is. Create lives on a host of its own, everything else on the other (documented)."""
    if create_host:
        return Call("create" if (method, path) == ("POST", _CONTACTS) else "unknown", "", fields)
    if method == "POST" and path == "/api/send":
        return Call("record" if "sendStatus" in fields else "send", "", fields)
    if method in ("GET", "POST") and path.startswith(f"{_CONTACTS}/") and len(path) > len(_CONTACTS) + 1:
        return Call("get" if method == "GET" else "update", path[len(_CONTACTS) + 1 :], fields)
    if method == "GET" and path in (_CONTACTS, "/health"):
        return Call("list" if path == _CONTACTS else "health", "", fields)
    if method == "POST" and (match := _WEBHOOK.fullmatch(path)):
        return Call("webhook", match[1], fields)
    return Call("unknown", "", fields)


class Platform:
    """The calls, on ``state``."""

    def __init__(self, state: State, behaviour: Behaviour) -> None:
        self._state = state
        self._behaviour = behaviour
        self._sent = 0
        self._calls = {
            "send": self._send,
            "record": self._send,
            "create": self._create,
            "update": self._update,
            "get": self._get,
            "list": self._list,
            "webhook": self._webhook,
        }

    def carry_out(self, call: Call, account: Account | None) -> Reply:
        """Answer ``call``, and store what it writes. ``account`` is None where the credentials will not do."""
        if call.endpoint == "health":
            status = self._behaviour.health
            answer = success({"status": status, "version": VERSION})
            return Reply(answer._replace(status=200 if status == "pass" else 503))
        if call.endpoint == "unknown":
            return Reply(failure(404))
        if account is None:
            return Reply(failure(401))
        return self._calls[call.endpoint](account, call)

    def phone(self, call: Call, account: Account | None) -> str:
        """The customer's number that ``call`` is about, empty where it is about none."""
        if call.endpoint == "get":
            contact = self._state.contact(account.uid, call.argument) if account else None
            return contact["phoneNumber"] if contact else ""
        phone = call.fields.get("to" if call.endpoint in ("send", "record") else "phoneNumber", "")
        return phone if isinstance(phone, str) else ""

    def _send(self, account: Account, call: Call) -> Reply:
        fields = call.fields
        media = fields.get("media") or []
        if errors := _missing(fields, "to", "from") + _wrong_message(fields, media):
            return Reply(refusal(*errors))
        to, from_number = fields["to"], fields["from"]
        if errors := _wrong_phones(fields, "to", "from"):
            return Reply(refusal(*errors))
        if account.numbers and from_number not in account.numbers:
            return Reply(refusal("Invalid parameter 'from': the number is not assigned to this user"))
        recorded = call.endpoint == "record"
        # A recorded text has reached its customer already: an opt-out cannot refuse it. Stated nowhere.
        if not recorded and (account.uid, to) in self._state.opt_outs:
            return Reply(failure(451))
        message = self._state.add_message(
            account.uid,
            "recorded" if recorded else "sent_by_platform",
            from_number,
            to,
            fields.get("message") or "",
            tuple(media),
        )
        return Reply(self._receipt(message), message=message)

    def _receipt(self, message: Message) -> Answer:
        self._sent += 1
        told = self._behaviour.message_id
        if told == "always" or (told == "sometimes" and self._sent % 2):
            return success({"status": "true", "MessageID": message.id})
        return success({"status": "true"})

    def _create(self, account: Account, call: Call) -> Reply:
        if errors := _wrong_contact(call.fields):
            return Reply(refusal(*errors))
        phone, full_name, email = _contact(call.fields)
        contact = self._state.create_contact(account.uid, phone, full_name, email or "")
        return Reply(success(contact), contact["id"])

    def _update(self, account: Account, call: Call) -> Reply:
        if self._state.contact(account.uid, call.argument) is None:
            return Reply(gateway())
        if errors := _wrong_contact(call.fields):
            return Reply(refusal(*errors))
        contact = self._state.update_contact(account.uid, call.argument, *_contact(call.fields))
        return Reply(success(contact), call.argument) if contact else Reply(gateway())

    def _get(self, account: Account, call: Call) -> Reply:
        contact = self._state.contact(account.uid, call.argument)
        return Reply(success(contact) if contact else gateway())

    def _list(self, account: Account, _call: Call) -> Reply:
        behaviour = self._behaviour
        if behaviour.list_timeout or self._state.count_contacts(account.uid) > behaviour.list_limit:
            return Reply(failure(408), wait=behaviour.list_timeout_seconds)
        return Reply(success({"contacts": self._state.contacts(account.uid, behaviour.list_lag_seconds)}))

    def _webhook(self, account: Account, call: Call) -> Reply:
        """The answer's body is stated nowhere; this is the one of a send."""
        if call.argument != account.uid:
            return Reply(failure(403))
        if errors := _missing(call.fields, "url"):
            return Reply(refusal(*errors))
        url = call.fields["url"]
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            return Reply(refusal("Invalid parameter 'url'"))
        self._state.webhooks[account.uid] = url
        return Reply(success({"status": "true"}))


def _contact(fields: dict[str, Any]) -> tuple[str, str, str | None]:
    return fields["phoneNumber"], fields.get("fullName") or "", fields.get("email")


def _wrong_contact(fields: dict[str, Any]) -> list[str]:
    if missing := _missing(fields, "phoneNumber"):
        return missing
    texts = (name for name in ("fullName", "email") if not isinstance(fields.get(name) or "", str))
    return _wrong_phones(fields, "phoneNumber") + [f"Invalid parameter '{name}'" for name in texts]


def _wrong_message(fields: dict[str, Any], media: object) -> list[str]:
    errors = [
        f"Parameter '{name}' is not part of VirtualText's documented API" for name in _UNDOCUMENTED if name in fields
    ]
    if not fields.get("message") and not media:
        errors.append("Missing parameter 'message'")
    elif not isinstance(fields.get("message") or "", str):
        errors.append("Invalid parameter 'message'")
    if not isinstance(media, list) or not all(_is_url(url) for url in media):
        errors.append("Invalid parameter 'media': an array of public URLs")
    if fields.get("sendStatus", "sent") != "sent":
        errors.append("Invalid parameter 'sendStatus'")
    return errors


def _is_url(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://"))


def _missing(fields: dict[str, Any], *names: str) -> list[str]:
    return [f"Missing parameter '{name}'" for name in names if not fields.get(name)]


def _wrong_phones(fields: dict[str, Any], *names: str) -> list[str]:
    return [
        f"Invalid parameter '{name}': not a phone number in E.164"
        for name in names
        if not isinstance(fields[name], str) or not _E164.fullmatch(fields[name])
    ]

"""Carries out calls of VirtualText's API: stores what they write, and returns the response. No sockets, no faults.

The rules are documented or were observed. A comment marks each rule that is neither.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from worker.sandbox.answers import SandboxAnswer, bad_request, error_envelope, gateway_page, ok_json
from worker.sandbox.behaviour import Behaviour
from worker.sandbox.faults import Endpoint
from worker.sandbox.state import SandboxAccount, SandboxMessage, State

VERSION = "sandbox"
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_CONTACTS = "/api/contacts"
_WEBHOOK = re.compile(r"/api/users/([^/]+)/webhook")
_UNDOCUMENTED = ("sendAt", "notify", "type")
"""Fields of other brands of the platform. They are refused, because ignoring them could send a text."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request. ``argument`` is the id in its path; ``fields`` is its JSON object, or empty."""

    endpoint: Endpoint
    argument: str
    fields: dict[str, Any]


class SandboxReply(NamedTuple):
    """The answer, and the contact's id or the message that was stored. It is sent after ``wait`` seconds."""

    answer: SandboxAnswer
    contact_id: str = ""
    message: SandboxMessage | None = None
    wait: float = 0


def route_call(create_host: bool, method: str, path: str, fields: dict[str, Any]) -> Call:
    """Return the call of a request. Create has its own host, everything else is on the other one (documented)."""
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
    """Carries out calls on ``state``."""

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

    def carry_out(self, call: Call, account: SandboxAccount | None) -> SandboxReply:
        """Carry out ``call`` and return its answer. ``account`` is None if the credentials are wrong."""
        if call.endpoint == "health":
            status = self._behaviour.health
            answer = ok_json({"status": status, "version": VERSION})
            return SandboxReply(answer._replace(status=200 if status == "pass" else 503))
        if call.endpoint == "unknown":
            return SandboxReply(error_envelope(404))
        if account is None:
            return SandboxReply(error_envelope(401))
        return self._calls[call.endpoint](account, call)

    def other_contact(self, call: Call, account: SandboxAccount | None) -> SandboxReply:
        """Return the answer with a contact that ``call`` is not about; one that does not exist if there is no other."""
        asked, contacts = self.phone(call, account), self._state.contacts(account.uid if account else "")
        made_up = {"id": "0", "fullName": "Somebody Else", "phoneNumber": "+12025550199", "email": ""}
        other = next((contact for contact in contacts if contact["phoneNumber"] != asked), made_up)
        return SandboxReply(ok_json(other))

    def phone(self, call: Call, account: SandboxAccount | None) -> str:
        """Return the customer's number that ``call`` is about; empty if there is none."""
        if call.endpoint == "get":
            contact = self._state.contact(account.uid, call.argument) if account else None
            return contact["phoneNumber"] if contact else ""
        phone = call.fields.get("to" if call.endpoint in ("send", "record") else "phoneNumber", "")
        return phone if isinstance(phone, str) else ""

    def _send(self, account: SandboxAccount, call: Call) -> SandboxReply:
        fields = call.fields
        media = fields.get("media") or []
        if errors := _missing(fields, "to", "from") + _wrong_message(fields, media):
            return SandboxReply(bad_request(*errors))
        to, from_number = fields["to"], fields["from"]
        if errors := _wrong_phones(fields, "to", "from"):
            return SandboxReply(bad_request(*errors))
        if account.numbers and from_number not in account.numbers:
            return SandboxReply(bad_request("Invalid parameter 'from': the number is not assigned to this user"))
        recorded = call.endpoint == "record"
        # A recorded text has reached its customer already, so an opt-out does not refuse it. Not documented.
        if not recorded and (account.uid, to) in self._state.opt_outs:
            return SandboxReply(error_envelope(451))
        message = self._state.add_message(
            account.uid,
            "recorded" if recorded else "sent_by_platform",
            from_number,
            to,
            fields.get("message") or "",
            tuple(media),
        )
        return SandboxReply(self._receipt(message), message=message)

    def _receipt(self, message: SandboxMessage) -> SandboxAnswer:
        self._sent += 1
        with_id = self._behaviour.message_id
        if with_id == "always" or (with_id == "sometimes" and self._sent % 2):
            return ok_json({"status": "true", "MessageID": message.id})
        return ok_json({"status": "true"})

    def _create(self, account: SandboxAccount, call: Call) -> SandboxReply:
        if errors := _wrong_contact(call.fields):
            return SandboxReply(bad_request(*errors))
        phone, full_name, email = _contact(call.fields)
        existing = self._state.contact_of(account.uid, phone) if self._behaviour.create_existing else None
        if existing is not None:
            return SandboxReply(ok_json(existing), existing["id"])
        contact = self._state.create_contact(account.uid, phone, full_name, email or "")
        return SandboxReply(ok_json(contact), contact["id"])

    def _update(self, account: SandboxAccount, call: Call) -> SandboxReply:
        if self._state.contact(account.uid, call.argument) is None:
            return SandboxReply(gateway_page())
        if errors := _wrong_contact(call.fields):
            return SandboxReply(bad_request(*errors))
        contact = self._state.update_contact(account.uid, call.argument, *_contact(call.fields))
        return SandboxReply(ok_json(contact), call.argument) if contact else SandboxReply(gateway_page())

    def _get(self, account: SandboxAccount, call: Call) -> SandboxReply:
        contact = self._state.contact(account.uid, call.argument)
        return SandboxReply(ok_json(contact) if contact else gateway_page())

    def _list(self, account: SandboxAccount, _call: Call) -> SandboxReply:
        behaviour = self._behaviour
        if behaviour.list_timeout or self._state.count_contacts(account.uid) > behaviour.list_limit:
            return SandboxReply(error_envelope(408), wait=behaviour.list_timeout_seconds)
        contacts = [dict(one) for one in self._state.contacts(account.uid, behaviour.list_lag_seconds)]
        if behaviour.opt_out_flags:
            out = self._state.opt_outs
            contacts = [one | {"optedOut": (account.uid, one["phoneNumber"]) in out} for one in contacts]
        return SandboxReply(ok_json({"contacts": contacts}))

    def _webhook(self, account: SandboxAccount, call: Call) -> SandboxReply:
        """Register a webhook. The body of the answer is not documented; this is the one of a send."""
        if call.argument != account.uid:
            return SandboxReply(error_envelope(403))
        if errors := _missing(call.fields, "url"):
            return SandboxReply(bad_request(*errors))
        url = call.fields["url"]
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            return SandboxReply(bad_request("Invalid parameter 'url'"))
        self._state.webhooks[account.uid] = url
        return SandboxReply(ok_json({"status": "true"}))


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

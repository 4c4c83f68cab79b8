"""The platform's data: contacts, messages and opt-outs. In memory, safe from any thread."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count, islice
from threading import RLock
from typing import Any, Literal, TypedDict

Kind = Literal["sent_by_platform", "recorded", "inbound"]

STOP_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"})
START_WORDS = frozenset({"START", "UNSTOP", "YES"})


class ContactJson(TypedDict):
    """A contact as the API returns it."""

    id: str
    fullName: str
    phoneNumber: str
    email: str


@dataclass(frozen=True, slots=True)
class SandboxAccount:
    """A user of the platform. Without ``numbers`` it may send from any number. ``repr`` leaves the token out."""

    uid: str
    token: str = field(repr=False)
    numbers: tuple[str, ...] = ()


DEFAULT_ACCOUNT = SandboxAccount("sandbox", "sandbox-token", ("+12025550100",))


@dataclass(frozen=True, slots=True)
class SandboxMessage:
    """One text in a conversation. ``at`` is in seconds since 1970; ``media`` are URLs.

    ``sent_by_platform`` would have reached a phone, ``recorded`` was sent through another carrier and only stored,
    ``inbound`` came from the customer.
    """

    id: str
    account: str
    kind: Kind
    from_number: str
    to: str
    text: str
    media: tuple[str, ...]
    at: float

    @property
    def phone(self) -> str:
        """Return the customer's number."""
        return self.from_number if self.kind == "inbound" else self.to


@dataclass(slots=True)
class Conversation:
    """All texts with one customer, oldest first. It exists once there is a contact or a text."""

    account: str
    phone: str
    at: float
    messages: list[SandboxMessage] = field(default_factory=list)


class State:
    """All data of the platform. ``version`` grows with every change."""

    def __init__(self, accounts: Iterable[SandboxAccount], any_credentials: bool = False, relay_url: str = "") -> None:
        self.lock = RLock()
        self.accounts = {account.uid: account for account in accounts}
        self.version = 0
        self._any_credentials = any_credentials
        self._relay_url = relay_url
        self._ids = count(1)  # never restarted, so that ids from before a reset stay unknown
        self._by_header = {f"Bearer {a.uid}:{a.token}": a for a in self.accounts.values()}
        self.reset()

    def reset(self) -> None:
        """Delete everything but the accounts."""
        with self.lock:
            self.version += 1
            self.messages: list[SandboxMessage] = []
            self.opt_outs: set[tuple[str, str]] = set()
            self.webhooks: dict[str, str] = {}
            self._contacts: dict[str, dict[str, ContactJson]] = {}
            self._listed_from: dict[str, float] = {}
            self._by_phone: dict[tuple[str, str], list[str]] = {}
            self._conversations: dict[tuple[str, str], Conversation] = {}

    # accounts

    def authenticate(self, authorization: str) -> SandboxAccount | None:
        """Return the account of the header; None if its credentials are wrong."""
        account = self._by_header.get(authorization)
        if account is None and self._any_credentials:
            scheme, _, credential = authorization.partition(" ")
            uid, _, token = credential.partition(":")
            if scheme == "Bearer" and uid and token:
                with self.lock:
                    account = self.accounts.setdefault(uid, SandboxAccount(uid, token))
        return account

    def webhook(self, uid: str) -> str:
        """Return the account's webhook; empty if it has none."""
        return self.webhooks.get(uid, self._relay_url)

    # contacts

    def create_contact(self, uid: str, phone: str, full_name: str = "", email: str = "") -> ContactJson:
        """Create a contact, even if the phone already has one: the platform does not check."""
        with self.lock:
            contact_id = f"64f0a1{next(self._ids):018x}"
            contact: ContactJson = {
                "id": contact_id,
                "fullName": full_name or phone,
                "phoneNumber": phone,
                "email": email,
            }
            self._contacts.setdefault(uid, {})[contact_id] = contact
            self._listed_from[contact_id] = time.monotonic()
            self._by_phone.setdefault((uid, phone), []).append(contact_id)
            self._touch(uid, phone)
            return contact.copy()

    def update_contact(
        self, uid: str, contact_id: str, phone: str, full_name: str = "", email: str | None = None
    ) -> ContactJson | None:
        """Change a contact and return it; None for an unknown id.

        A missing name becomes the phone (documented). A missing email stays as it was (not documented).
        """
        with self.lock:
            contact = self._contacts.get(uid, {}).get(contact_id)
            if contact is None:
                return None
            if contact["phoneNumber"] != phone:
                self._forget_phone(uid, contact)
                self._by_phone.setdefault((uid, phone), []).append(contact_id)
            contact["phoneNumber"] = phone
            contact["fullName"] = full_name or phone
            if email is not None:
                contact["email"] = email
            self._touch(uid, phone)
            return contact.copy()

    def delete_contact(self, contact_id: str) -> bool:
        """Delete a contact, as a person does in the web app; the API cannot. Return False for an unknown id."""
        with self.lock:
            for uid, contacts in self._contacts.items():
                if contact := contacts.pop(contact_id, None):
                    self._forget_phone(uid, contact)
                    self.version += 1
                    return True
            return False

    def contact(self, uid: str, contact_id: str) -> ContactJson | None:
        """Return one contact; None for an unknown id."""
        with self.lock:
            contact = self._contacts.get(uid, {}).get(contact_id)
            return contact.copy() if contact else None

    def contact_of(self, uid: str, phone: str) -> ContactJson | None:
        """Return the oldest contact with ``phone``."""
        with self.lock:
            ids = self._by_phone.get((uid, phone))
            return self._contacts[uid][ids[0]].copy() if ids else None

    def count_contacts(self, uid: str) -> int:
        """Return the number of contacts of the account."""
        return len(self._contacts.get(uid, ()))

    def contacts(self, uid: str | None = None, min_age: float = 0) -> list[ContactJson]:
        """Return the contacts of one account or of all, oldest first, that are at least ``min_age`` seconds old."""
        with self.lock:
            accounts = self._contacts.values() if uid is None else [self._contacts.get(uid, {})]
            contacts = [contact.copy() for account in accounts for contact in account.values()]
            if min_age:
                until = time.monotonic() - min_age
                contacts = [contact for contact in contacts if self._listed_from[contact["id"]] <= until]
            return contacts

    def count_contacts_of(self, uid: str, phone: str) -> int:
        """Return the number of contacts with this phone; more than one means duplicates."""
        return len(self._by_phone.get((uid, phone), ()))

    def duplicate_phones(self) -> dict[str, int]:
        """Return the phones with several contacts in one account, and how many."""
        with self.lock:
            return {phone: len(ids) for (_, phone), ids in self._by_phone.items() if len(ids) > 1}

    # messages

    def add_message(
        self, uid: str, kind: Kind, from_number: str, to: str, text: str, media: tuple[str, ...] = ()
    ) -> SandboxMessage:
        """Store a text at the end of its conversation. An inbound STOP or START changes the opt-out, as at carriers."""
        with self.lock:
            message = SandboxMessage(f"SM{next(self._ids):030x}", uid, kind, from_number, to, text, media, time.time())
            self.messages.append(message)
            self._touch(uid, message.phone).messages.append(message)
            if kind == "inbound":
                self._read_keyword(uid, message)
            return message

    def opt_out(self, uid: str, phone: str) -> None:
        """Answer 451 to texts to ``phone`` from now on."""
        with self.lock:
            self.opt_outs.add((uid, phone))
            self._touch(uid, phone)

    def duplicate_texts(self) -> list[dict[str, Any]]:
        """Return the texts that were sent more than once, with the same content, from and to the same numbers."""
        with self.lock:
            texts = Counter((m.from_number, m.to, m.text, m.media) for m in self.messages if m.kind != "inbound")
        return [
            {"from": from_number, "to": to, "text": text, "media": media, "times": times}
            for (from_number, to, text, media), times in texts.items()
            if times > 1
        ]

    def conversations(self, search: str, limit: int) -> list[Conversation]:
        """Return conversations, the latest first. ``search`` is a part of a number or of a contact's name."""
        wanted = search.casefold()
        with self.lock:
            found = (c for c in reversed(self._conversations.values()) if not wanted or self._matches(c, wanted))
            return list(islice(found, limit))

    def count_conversations(self) -> int:
        """Return the number of conversations."""
        return len(self._conversations)

    def conversation(self, uid: str, phone: str) -> Conversation | None:
        """Return the conversation with ``phone``."""
        return self._conversations.get((uid, phone))

    def _matches(self, conversation: Conversation, wanted: str) -> bool:
        if wanted in conversation.phone:
            return True
        contact = self.contact_of(conversation.account, conversation.phone)
        return contact is not None and wanted in contact["fullName"].casefold()

    def _touch(self, uid: str, phone: str) -> Conversation:
        """Move the conversation to the end, which the page shows at its top."""
        self.version += 1
        now = time.time()
        conversation = self._conversations.pop((uid, phone), None) or Conversation(uid, phone, now)
        conversation.at = now
        self._conversations[uid, phone] = conversation
        return conversation

    def _forget_phone(self, uid: str, contact: ContactJson) -> None:
        key = (uid, contact["phoneNumber"])
        self._by_phone[key].remove(contact["id"])
        if not self._by_phone[key]:
            del self._by_phone[key]
            if not self._conversations[key].messages:
                del self._conversations[key]

    def _read_keyword(self, uid: str, message: SandboxMessage) -> None:
        word = "".join(filter(str.isalnum, message.text)).upper()
        if word in STOP_WORDS:
            self.opt_outs.add((uid, message.from_number))
        elif word in START_WORDS:
            self.opt_outs.discard((uid, message.from_number))

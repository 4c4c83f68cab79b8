"""What the platform holds: contacts, messages, opt-outs. In memory, safe to use from any thread."""

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
    """A contact as the API answers it."""

    id: str
    fullName: str
    phoneNumber: str
    email: str


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the platform. Without ``numbers`` it may send from any. ``repr`` leaves the token out."""

    uid: str
    token: str = field(repr=False)
    numbers: tuple[str, ...] = ()


DEFAULT_ACCOUNT = Account("sandbox", "sandbox-token", ("+12025550100",))


@dataclass(frozen=True, slots=True)
class Message:
    """One text in a conversation. ``at`` is in seconds since 1970; ``media`` are URLs.

    ``sent_by_platform`` would have reached a phone, ``recorded`` was stored because another carrier had sent it,
    ``inbound`` is the customer's.
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
        """The customer's number."""
        return self.from_number if self.kind == "inbound" else self.to


@dataclass(slots=True)
class Conversation:
    """All texts with one customer, oldest first. It exists from the contact's creation or the first text on."""

    account: str
    phone: str
    at: float
    messages: list[Message] = field(default_factory=list)


class State:
    """Everything the platform holds. ``version`` grows with every change."""

    def __init__(self, accounts: Iterable[Account], any_credentials: bool = False, relay_url: str = "") -> None:
        self.lock = RLock()
        self.accounts = {account.uid: account for account in accounts}
        self.version = 0
        self._any_credentials = any_credentials
        self._relay_url = relay_url
        self._ids = count(1)  # never starts again, so an id from before a reset stays unknown
        self._by_header = {f"Bearer {a.uid}:{a.token}": a for a in self.accounts.values()}
        self.reset()

    def reset(self) -> None:
        """Forget everything but the accounts."""
        with self.lock:
            self.version += 1
            self.messages: list[Message] = []
            self.opt_outs: set[tuple[str, str]] = set()
            self.webhooks: dict[str, str] = {}
            self._contacts: dict[str, dict[str, ContactJson]] = {}
            self._listed_from: dict[str, float] = {}
            self._by_phone: dict[tuple[str, str], list[str]] = {}
            self._conversations: dict[tuple[str, str], Conversation] = {}

    # accounts

    def authenticate(self, authorization: str) -> Account | None:
        """The account that the header names, None when its credentials will not do."""
        account = self._by_header.get(authorization)
        if account is None and self._any_credentials:
            scheme, _, credential = authorization.partition(" ")
            uid, _, token = credential.partition(":")
            if scheme == "Bearer" and uid and token:
                with self.lock:
                    account = self.accounts.setdefault(uid, Account(uid, token))
        return account

    def webhook(self, uid: str) -> str:
        """Where the account's messages are announced, empty for nowhere."""
        return self.webhooks.get(uid, self._relay_url)

    # contacts

    def create_contact(self, uid: str, phone: str, full_name: str = "", email: str = "") -> ContactJson:
        """One more contact, also where the phone has one already: the platform does not look."""
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
        """The contact as it is now; None for an unknown id. A missing name becomes the phone (documented); a missing
        email stays (not stated anywhere).
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
        """As a person would in the web app; the API has no delete. False for an unknown id."""
        with self.lock:
            for uid, contacts in self._contacts.items():
                if contact := contacts.pop(contact_id, None):
                    self._forget_phone(uid, contact)
                    self.version += 1
                    return True
            return False

    def contact(self, uid: str, contact_id: str) -> ContactJson | None:
        """One contact, None for an unknown id."""
        with self.lock:
            contact = self._contacts.get(uid, {}).get(contact_id)
            return contact.copy() if contact else None

    def contact_of(self, uid: str, phone: str) -> ContactJson | None:
        """The oldest contact with ``phone``."""
        with self.lock:
            ids = self._by_phone.get((uid, phone))
            return self._contacts[uid][ids[0]].copy() if ids else None

    def count_contacts(self, uid: str) -> int:
        """How many contacts the account has."""
        return len(self._contacts.get(uid, ()))

    def contacts(self, uid: str | None = None, min_age: float = 0) -> list[ContactJson]:
        """Contacts of one account or of all, oldest first, at least ``min_age`` seconds old."""
        with self.lock:
            accounts = self._contacts.values() if uid is None else [self._contacts.get(uid, {})]
            contacts = [contact.copy() for account in accounts for contact in account.values()]
            if min_age:
                until = time.monotonic() - min_age
                contacts = [contact for contact in contacts if self._listed_from[contact["id"]] <= until]
            return contacts

    def count_contacts_of(self, uid: str, phone: str) -> int:
        """How many contacts the phone has; more than one is a duplicate."""
        return len(self._by_phone.get((uid, phone), ()))

    def duplicate_phones(self) -> dict[str, int]:
        """Phones that one account has several contacts of, with how many."""
        with self.lock:
            return {phone: len(ids) for (_, phone), ids in self._by_phone.items() if len(ids) > 1}

    # messages

    def add_message(
        self, uid: str, kind: Kind, from_number: str, to: str, text: str, media: tuple[str, ...] = ()
    ) -> Message:
        """Store a text at the end of its conversation. An inbound STOP or START changes the opt-out, as carriers do."""
        with self.lock:
            message = Message(f"SM{next(self._ids):030x}", uid, kind, from_number, to, text, media, time.time())
            self.messages.append(message)
            self._touch(uid, message.phone).messages.append(message)
            if kind == "inbound":
                self._read_keyword(uid, message)
            return message

    def opt_out(self, uid: str, phone: str) -> None:
        """Texts to ``phone`` answer 451 from now on."""
        with self.lock:
            self.opt_outs.add((uid, phone))
            self._touch(uid, phone)

    def duplicate_texts(self) -> list[dict[str, Any]]:
        """Texts that the same number sent to the same number more than once, word for word."""
        with self.lock:
            texts = Counter((m.from_number, m.to, m.text, m.media) for m in self.messages if m.kind != "inbound")
        return [
            {"from": from_number, "to": to, "text": text, "media": media, "times": times}
            for (from_number, to, text, media), times in texts.items()
            if times > 1
        ]

    def conversations(self, search: str, limit: int) -> list[Conversation]:
        """The latest first. ``search`` is part of a number or of a contact's name."""
        wanted = search.casefold()
        with self.lock:
            found = (c for c in reversed(self._conversations.values()) if not wanted or self._matches(c, wanted))
            return list(islice(found, limit))

    def count_conversations(self) -> int:
        """How many conversations there are."""
        return len(self._conversations)

    def conversation(self, uid: str, phone: str) -> Conversation | None:
        """The conversation with ``phone``."""
        return self._conversations.get((uid, phone))

    def _matches(self, conversation: Conversation, wanted: str) -> bool:
        if wanted in conversation.phone:
            return True
        contact = self.contact_of(conversation.account, conversation.phone)
        return contact is not None and wanted in contact["fullName"].casefold()

    def _touch(self, uid: str, phone: str) -> Conversation:
        """Move the conversation to the end, which is the top of the page."""
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

    def _read_keyword(self, uid: str, message: Message) -> None:
        word = "".join(filter(str.isalnum, message.text)).upper()
        if word in STOP_WORDS:
            self.opt_outs.add((uid, message.from_number))
        elif word in START_WORDS:
            self.opt_outs.discard((uid, message.from_number))

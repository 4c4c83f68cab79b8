"""What callers may ask of the outbox, and what is wrong with a request when something is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from worker.core.phones import is_e164
from worker.core.times import plausible
from worker.runtime import Runtime
from worker.triggers.segments import LONGEST_TEXT

MOST_MEDIA = 10
LONGEST_KEY = 200
# What the outbox itself names messages by; a caller's key must not meet them.
RESERVED_KEYS = ("trigger:", "auto:")

_URL = re.compile(r"https?://[^\s/]+(/\S*)?")


class InvalidRequest(ValueError):
    """A job that cannot be done as it stands. ``problems`` are full sentences, all of them."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class IdempotencyConflict(ValueError):
    """The same idempotency key came with another payload. ``message_id`` is the first one's."""

    def __init__(self, key: str, message_id: str) -> None:
        super().__init__(
            f'the idempotency key "{key}" was used before, for message {message_id} with other contents; nothing was'
            " enqueued. Use a new key for a new message, or repeat the first request unchanged"
        )
        self.message_id = message_id


@dataclass(frozen=True, slots=True)
class SendRequest:
    """A text to send. ``to`` and ``from_number`` are E.164 (default: the account's number), ``media`` public URLs.

    ``idempotency_key`` makes repeating the request harmless; without one every request is a new text.
    ``send_at`` is the earliest time, ``expires_at`` the latest (default: the policy's ``expires_after``).
    ``urgent``: also in quiet hours; only for what the person is waiting for right now.
    """

    account: str
    to: str
    message: str
    media: tuple[str, ...] = ()
    from_number: str | None = None
    idempotency_key: str | None = None
    expires_at: datetime | None = None
    send_at: datetime | None = None
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class RecordRequest:
    """A text that another system sent already. ``sent_at`` is its place in the conversation (default: now).

    The same carrier's message is recorded once, whoever asks and how often.
    """

    account: str
    to: str
    message: str
    media: tuple[str, ...] = ()
    from_number: str | None = None
    idempotency_key: str | None = None
    carrier: str | None = None
    carrier_message_id: str | None = None
    sent_at: datetime | None = None


def validate(runtime: Runtime, request: SendRequest | RecordRequest) -> list[str]:
    """What is wrong with a request, as sentences for the caller. Empty: nothing."""
    if request.account not in runtime.settings.accounts:
        known = ", ".join(sorted(runtime.settings.accounts)) or "none"
        return [f'the account "{request.account}" is not configured (configured: {known})']
    problems = [
        f'{name} must be a phone number in E.164, such as "+14155552671", not "{value}"'
        for name, value in (("to", request.to), ("from_number", request.from_number))
        if value is not None and not is_e164(value)
    ]
    if request.to == (request.from_number or runtime.settings.accounts[request.account].from_number):
        problems.append("to and from_number are the same number")
    problems += _content_problems(request.message, request.media) + _key_problems(request.idempotency_key)
    times = (
        {"expires_at": request.expires_at, "send_at": request.send_at}
        if isinstance(request, SendRequest)
        else {"sent_at": request.sent_at}
    )
    problems += [problem for name, at in times.items() if at is not None and (problem := _time_problem(name, at))]
    return problems + (_record_problems(request) if isinstance(request, RecordRequest) else [])


def _time_problem(name: str, at: datetime) -> str:
    if at.tzinfo is None:
        return f"{name} needs a time zone, such as 2026-05-01T09:30:00Z"
    return "" if plausible(at) else f"{name} must be in this century, not in the year {at.year}"


def _content_problems(text: str, media: tuple[str, ...]) -> list[str]:
    problems = []
    if not text.strip() and not media:
        problems.append("message is empty and there is no media; give at least one of them")
    if len(text) > LONGEST_TEXT:
        problems.append(f"message has {len(text)} characters, at most {LONGEST_TEXT} are allowed; shorten it")
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        problems.append("message holds characters that cannot be sent (NUL or half of a surrogate pair); remove them")
    if len(media) > MOST_MEDIA:
        problems.append(f"media lists {len(media)} URLs, at most {MOST_MEDIA} are allowed")
    return problems + [
        f'media must be public http or https URLs, not "{url}"' for url in media if not _URL.fullmatch(url)
    ]


def _key_problems(key: str | None) -> list[str]:
    if key is None:
        return []
    if not key.strip() or len(key) > LONGEST_KEY or not key.isprintable():
        return [f"idempotency_key must be 1 to {LONGEST_KEY} printable characters"]
    if key.startswith(RESERVED_KEYS):
        return [f"idempotency_key must not begin with {' or '.join(RESERVED_KEYS)}; this worker uses those itself"]
    return []


def _record_problems(request: RecordRequest) -> list[str]:
    named = bool(request.carrier) and bool(request.carrier_message_id)
    if not named and (request.carrier or request.carrier_message_id):
        return ["carrier and carrier_message_id belong together; give both or neither"]
    if not named and request.idempotency_key is None:
        return ["give carrier and carrier_message_id, or an idempotency_key, so that the text is recorded once"]
    return []

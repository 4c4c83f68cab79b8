"""The requests that callers can make: one model for each job, for Celery, HTTP and the command line alike.

A new field of a send job is declared here, in ``SendContent``. It is stored when the message table has a column of the
same name, and the Celery task and ``POST /v1/messages`` accept it without further changes. `vtsync send` needs an
option for it. ``POSITIONAL`` never changes: callers name new arguments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from config.types import NOT_A_URL, public_url_problem
from worker.core.phones import is_e164
from worker.core.text import is_invisible
from worker.core.times import plausible
from worker.messages.metadata import Metadata
from worker.messages.request_problems import (
    E164_PATTERN,
    NO_NUL_PATTERN,
    UNSENDABLE,
    FieldProblem,
    IdempotencyConflict,
    InvalidRequest,
    RequestProblem,
    not_e164,
    quoted,
    read_errors,
    unknown_name,
)
from worker.triggers.segments import LONGEST_TEXT

if TYPE_CHECKING:
    from config.models import Settings

__all__ = [
    "IdempotencyConflict",
    "InvalidRequest",
    "RecordContent",
    "RecordRequest",
    "SendContent",
    "SendRequest",
    "SyncRequest",
    "account_problems",
    "plausible",
]

MOST_MEDIA = 10
LONGEST_RECORD = 10_000
"""Characters of a text that was sent already: VirtualText states no limit, and the longest texts are MMS and RCS."""
LONGEST_KEY = 200
LONGEST_URL = 2000
LONGEST_CALLBACK_URL = 1000
RESERVED_KEYS = ("trigger:", "auto:", "test:")
"""The outbox itself uses keys with these prefixes, so a caller's key must not have one."""


def _e164(value: str) -> str:
    if not is_e164(value):
        raise ValueError(not_e164(value))
    return value


def _moment(value: object) -> datetime:
    """Read an ISO 8601 time. Numbers, and times without a zone, could mean several moments and are refused."""
    moment = value if isinstance(value, datetime) else None
    if isinstance(value, str):
        with suppress(ValueError):
            moment = datetime.fromisoformat(value.upper())
    if moment is None or moment.tzinfo is None:
        given = f", not {quoted(value)}" if isinstance(value, str) else ""
        wanted = f'must be an ISO 8601 time with a time zone, such as "2026-03-01T14:30:00Z"{given}'
        raise PydanticCustomError("time_with_zone", "{wanted}", {"wanted": wanted})
    if not plausible(moment):
        raise ValueError(f"must be in this century, not in the year {moment.year}")
    return moment


def _sendable(text: str) -> str:
    if "\x00" in text:
        raise ValueError(UNSENDABLE)
    return text


def _callback_url(url: str) -> str:
    if not url.isascii() or not url.isprintable() or not re.fullmatch(r"https?://[^\s/]+(/\S*)?", url):
        raise ValueError(f"must be an https URL, not {_shown(url)}")
    return url


def _shown(url: str) -> str:
    """Quote a URL without the user name and password that it may have."""
    scheme, separator, rest = url.partition("://")
    host = rest.partition("/")[0]
    return quoted(f"{scheme}://…{rest[host.rindex('@') :]}" if separator and "@" in host else url, 100)


def _key(key: str) -> str:
    if not key.strip() or len(key) > LONGEST_KEY or not key.isprintable():
        raise ValueError(f"must be 1 to {LONGEST_KEY} printable characters")
    if key.startswith(RESERVED_KEYS):
        raise ValueError(f"must not begin with {' or '.join(RESERVED_KEYS)}; this worker uses those itself")
    return key


PhoneNumber = Annotated[str, Field(pattern=E164_PATTERN), AfterValidator(_e164)]
# A maximal length makes Pydantic refuse the halves of surrogate pairs, too: no response could repeat them.
AccountName = Annotated[str, Field(max_length=100, description="The account to send from.", examples=["main"])]
Url = Annotated[str, Field(max_length=LONGEST_URL)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
IdempotencyKey = Annotated[str, AfterValidator(_key)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class JobRequest(_Model):
    """A job that another service can ask for. ``POSITIONAL`` names the arguments that a task takes by position."""

    POSITIONAL: ClassVar[tuple[str, ...]]

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> Self:
        """Build the request from values of any type. Raises InvalidRequest with everything that is wrong."""
        return cls._parse(values, [])

    @classmethod
    def from_call(cls, positional: Sequence[object], named: Mapping[str, object], **defaults: object) -> Self:
        """Build the request from the arguments of a Celery task, which can be any JSON. Raises InvalidRequest.

        None means left out, and one string counts as a list of one URL. ``defaults`` replace what was left out.
        """
        values, problems = dict(named), []
        if len(positional) > len(cls.POSITIONAL):
            text = f"at most {len(cls.POSITIONAL)} positional arguments are allowed, {len(positional)} were given"
            problems.append(RequestProblem((), f"{text}; name them", malformed=True))
        for name, value in zip(cls.POSITIONAL, positional, strict=False):
            if name in values:
                problems.append(RequestProblem((name,), f"{name} was given twice", malformed=True))
            values.setdefault(name, value)
        known = cls.model_fields  # looked up once: Pydantic computes it
        unknown = [name for name in values if name not in known]
        problems += [RequestProblem((name,), unknown_name(name, known), malformed=True) for name in unknown]
        given = {name: value for name, value in values.items() if value is not None and name not in unknown}
        if isinstance(media := given.get("media"), str):
            given["media"] = [media]
        return cls._parse(defaults | given, problems)

    @classmethod
    def _parse(cls, values: Mapping[str, object], problems: list[RequestProblem]) -> Self:
        try:
            request = cls.model_validate(values)
        except ValidationError as error:
            problems += read_errors(error.errors(include_url=False), cls.model_fields)
        if problems:
            raise InvalidRequest(problems)
        return request


class _Text(_Model):
    """What every text has."""

    to: PhoneNumber = Field(examples=["+14155552671"])
    message: Annotated[str, AfterValidator(_sendable)] = Field(
        "",
        max_length=LONGEST_TEXT,
        description="May be empty when there is media.",
        examples=["Your table is ready."],
    )
    media: tuple[Url, ...] = Field(
        (),
        max_length=MOST_MEDIA,
        validate_default=True,
        description="Public URLs.",
        examples=[["https://example.com/menu.png"]],
    )
    from_number: PhoneNumber | None = Field(None, description="The sender. Default: the account's number.")

    @field_validator("media")
    @classmethod
    def _has_content(cls, media: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for url in media:
            if problem := public_url_problem(url):
                why = "" if problem == NOT_A_URL else f", which {problem}"
                raise ValueError(f"must be public http or https URLs, not {_shown(url)}{why}")
        if not media and is_invisible(message := info.data.get("message", "invalid")):
            seen = "shows nothing but blank or invisible characters" if message.strip() else "is empty"
            raise FieldProblem("message", f"{seen} and there is no media; give at least one of them")
        return media


class SendContent(_Text):
    """A text to send, now or later, without the account and the key."""

    send_at: Moment | None = Field(
        None, description="The earliest time to send it, with a time zone.", examples=["2027-03-01T14:30:00Z"]
    )
    expires_at: Moment | None = Field(
        None, description="The latest time to send it. Default: `policy.expires_after` after it is due."
    )
    urgent: StrictBool = Field(
        False, description="Send it in quiet hours, too. Only for what the person is waiting for right now."
    )
    metadata: Metadata = Field(
        {},
        description="What to find the text by: up to 50 keys with text, numbers, true or false, together up to 2 KB."
        " Returned with the text and in its events.",
        examples=[{"order": 17}],
    )
    callback_url: Annotated[str, Field(max_length=LONGEST_CALLBACK_URL), AfterValidator(_callback_url)] | None = Field(
        None,
        description="An https URL that every event of this text is POSTed to, signed. Needs `callbacks.secret`.",
        examples=[None],
    )

    @field_validator("expires_at")
    @classmethod
    def _is_later(cls, expires_at: datetime | None, info: ValidationInfo) -> datetime | None:
        send_at = info.data.get("send_at")
        if expires_at is not None and send_at is not None and expires_at <= send_at:
            raise ValueError("must be later than send_at, or the text would never be sent")
        return expires_at


class SendRequest(SendContent, JobRequest):
    """A text to send. With an ``idempotency_key``, repeating the request is harmless; without, it is a new text."""

    POSITIONAL = ("account", "to", "message", "media", "from_number", "idempotency_key", "send_at", "expires_at",
                  "urgent")  # fmt: skip

    account: AccountName
    idempotency_key: IdempotencyKey | None = None


class RecordContent(_Text):
    """A text that another system has sent already, without the account and the key.

    It may be longer than a text that is sent from here: it is recorded whole.
    """

    message: Annotated[str, AfterValidator(_sendable)] = Field(
        "",
        max_length=LONGEST_RECORD,
        description="May be empty when there is media.",
        examples=["Your table is ready."],
    )
    carrier: str | None = Field(None, max_length=40, pattern=NO_NUL_PATTERN, examples=["twilio"])
    carrier_message_id: str | None = Field(
        None,
        max_length=200,
        pattern=NO_NUL_PATTERN,
        validate_default=True,
        description="The carrier's id of the text. With `carrier`, the text is recorded once.",
        examples=["SM0123456789abcdef"],
    )
    sent_at: Moment | None = Field(
        None, description="When it was sent, with a time zone. It gives the position in the conversation. Default: now."
    )

    @field_validator("carrier_message_id")
    @classmethod
    def _is_paired(cls, carrier_message_id: str | None, info: ValidationInfo) -> str | None:
        if "carrier" in info.data and bool(info.data["carrier"]) != bool(carrier_message_id):
            raise FieldProblem("carrier", "and carrier_message_id belong together; give both or neither")
        return carrier_message_id


class RecordRequest(RecordContent, JobRequest):
    """A text that another system has sent already. One carrier's message is recorded once, whoever reports it."""

    POSITIONAL = ("account", "to", "message", "media", "from_number", "carrier", "carrier_message_id", "sent_at",
                  "idempotency_key")  # fmt: skip

    account: AccountName
    idempotency_key: IdempotencyKey | None = Field(None, validate_default=True)

    @field_validator("idempotency_key")
    @classmethod
    def _is_identified(cls, key: str | None, info: ValidationInfo) -> str | None:
        if key is None and not info.data.get("carrier_message_id", "invalid"):
            raise FieldProblem("carrier", "and carrier_message_id, or an idempotency_key, must be given, so that the"
                               " text is recorded once")  # fmt: skip
        return key


class SyncRequest(JobRequest):
    """A connection to read now.

    ``accept_removals`` applies removals that are too many to be trusted. ``full`` reads every record, not only changes.
    """

    POSITIONAL = ("connection", "accept_removals")

    connection: str
    accept_removals: StrictBool = False
    full: StrictBool = False


def account_problems(settings: Settings, request: SendRequest | RecordRequest) -> list[RequestProblem]:
    """Check a request against the configured accounts."""
    account = settings.accounts.get(request.account)
    if account is None:
        known = ", ".join(sorted(settings.accounts)) or "none"
        sentence = f"the account {quoted(request.account)} is not configured (configured: {known})"
        return [RequestProblem(("account",), sentence)]
    if request.to == (request.from_number or account.from_number):
        return [RequestProblem(("to",), "to and from_number are the same number")]
    if isinstance(request, SendRequest) and any(request.to == one.from_number for one in settings.accounts.values()):
        return [RequestProblem(("to",), "to is a number that an account sends from; give the number of a person")]
    if isinstance(request, SendRequest) and request.callback_url is not None:
        problem = settings.callbacks.problem_of(request.callback_url)
        return [RequestProblem(("callback_url",), f"callback_url {problem}")] if problem else []
    return []

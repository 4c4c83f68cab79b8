"""Reads a message of the broker as a task that Celery can run, or says why it is none.

Anybody who may send to the broker may send anything. Celery expects its own headers, and an unexpected one ends the
worker or takes a thread forever. So the consumer gives Celery only messages in exactly one form: JSON of
``[args, kwargs, embed]``, with checked headers. Accepted are

* Celery's messages: protocol 2, protocol 1, and the mixture of both that some clients send,
* a JSON object with the arguments of a public task, and the headers ``task`` and ``id``.

Reasons name headers and arguments, but never quote a value.
"""

# Kombu and Celery have no types.
# mypy: disable-error-code="no-untyped-call,unused-ignore"

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from celery.utils.time import maybe_iso8601
from kombu.utils.json import dumps, loads

from worker.broker.raw_messages import MALFORMED
from worker.core.times import plausible

SEND, RECORD = "vtsync.send_message", "vtsync.record_message"
PUBLIC = (SEND, RECORD, "vtsync.sync_connection")
"""The tasks that other services call."""
UNKNOWN_TASK = "the header task names no task of vtsync"
LARGEST_BODY = 1_000_000
LONGEST_ID = 150
"""An id becomes part of an idempotency key."""
MOST_RETRIES = 1_000_000

_JSON = ("application/json", "")
_UNICODE = ("utf-8", "utf8", "us-ascii", "ascii", "binary", "")
_TRACING = ("traceparent", "tracestate", "baggage", "sentry-trace", "sentry-task-enqueued-time")
_NAMES = ("root_id", "parent_id", "group", "reply_to", "correlation_id", *_TRACING)
_NUMBERS = ("vtsync_sent_at", "group_index")
_OF_A_DELIVERY = ("('redelivered'", "('x-")
"""What brokers add to the headers when they deliver a message again."""
_EMBEDDED = {"callbacks": list, "errbacks": list, "chain": list, "chord": dict}
_SIGNATURE = {"task": str, "args": list, "kwargs": dict, "options": dict}


class MalformedMessage(Exception):
    """A message that is no task. The text completes the sentence "the message was refused because ..."."""


class JobMessage(NamedTuple):
    """A message as Celery gets it: JSON in UTF-8."""

    headers: dict[str, Any]
    properties: dict[str, Any]
    body: str


def read_job_message(message: Any, tasks: Mapping[str, Callable[..., Any]]) -> JobMessage:
    """Read a Kombu message. ``tasks``: the functions by name. Raises MalformedMessage."""
    headers = message.headers
    if not isinstance(headers, dict):
        raise MalformedMessage("its headers are not a JSON object")
    if MALFORMED in headers:
        raise MalformedMessage(str(headers[MALFORMED])[:200])
    content = _content(message)
    if "task" not in headers and isinstance(content, dict) and "task" in content:  # protocol 1
        headers = headers | {name: value for name, value in content.items() if name not in ("args", "kwargs")}
    task = headers.get("task")
    if not isinstance(task, str):
        raise MalformedMessage("the header task is missing or not a string")
    if task not in tasks:
        raise MalformedMessage(UNKNOWN_TASK)
    args, kwargs, embed = _call(task, content)
    _check_arguments(task, tasks[task], args, kwargs)
    clean: dict[str, Any] = {"lang": "py", "task": task, "id": _id(message, headers, task, kwargs)}
    clean |= {"retries": _retries(headers.get("retries"))}
    clean |= {name: _time(name, headers[name]) for name in ("eta", "expires") if headers.get(name) is not None}
    clean |= _harmless(headers)
    if isinstance(nested := headers.get("headers"), dict):  # where clients put headers of their own
        clean["headers"] = _harmless(nested)
    # Time limits, stamps, and the sender's description of the arguments are left out: threads ignore the first, and
    # nobody here reads the others.
    properties = {name: value for name, value in (message.properties or {}).items() if name not in _NAMES}
    return JobMessage(clean, properties | _harmless(message.properties or {}), dumps([args, kwargs, embed]))


def fingerprint(message: Any) -> str:
    """Return the same 32 digits for the same message, so that it is reported once however often it is delivered."""
    given = map(repr, _mapping(message.headers).items())
    told = sorted(one for one in given if not one.startswith(_OF_A_DELIVERY))
    parts = (repr(told), repr(message.content_type), repr(message.body))
    return hashlib.blake2b("\0".join(parts).encode(errors="replace"), digest_size=16).hexdigest()


def queue_of(message: Any) -> str:
    """Return the routing key that the message came with."""
    return readable(_mapping(message.delivery_info).get("routing_key"))


def readable(value: object, longest: int = 100) -> str:
    """Return a name that a sender chose, without what could not be stored or shown."""
    text = value if isinstance(value, str) else ""
    return "".join(character if character.isprintable() else "?" for character in text[:longest])


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _content(message: Any) -> Any:
    """Return what the body's JSON says."""
    kind, encoding = message.content_type or "", message.content_encoding or ""
    if not (isinstance(kind, str) and kind.partition(";")[0].strip().lower() in _JSON):
        raise MalformedMessage("its content type is not application/json")
    if not (isinstance(encoding, str) and encoding.strip().lower() in _UNICODE):
        raise MalformedMessage("its content encoding is not utf-8")
    body = message.body
    if len(body or "") > LARGEST_BODY:
        raise MalformedMessage(f"it is larger than {LARGEST_BODY:,} bytes")
    try:
        text = body if isinstance(body, str) else bytes(body or b"").decode()
        return loads(text.removeprefix("\ufeff"))
    except Exception:  # noqa: BLE001 - a decoder can raise anything, and none of it may reach the main loop
        raise MalformedMessage("its body is not JSON in UTF-8") from None


def _call(task: str, content: Any) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Return the positional and named arguments, and what is to follow the task."""
    embed: object = {}
    if isinstance(content, list):
        if len(content) != 3:
            raise MalformedMessage("its body is not a list of args, kwargs and embed")
        args, kwargs, embed = content
    elif isinstance(content, dict) and ("args" in content or "kwargs" in content):
        args, kwargs, embed = content.get("args"), content.get("kwargs"), content
    elif isinstance(content, dict) and task in PUBLIC:
        args, kwargs = [], content
    elif isinstance(content, dict):
        raise MalformedMessage("its body has neither args nor kwargs, and the task is not a public one")
    else:
        raise MalformedMessage("its body is neither a JSON object nor a list of args, kwargs and embed")
    args, kwargs = [] if args is None else args, {} if kwargs is None else kwargs
    if not isinstance(args, list):
        raise MalformedMessage("args is not a list")
    if not isinstance(kwargs, dict):
        raise MalformedMessage("kwargs is not a JSON object")
    return args, kwargs, _embedded({} if embed is None else embed)


def _embedded(embed: object) -> dict[str, Any]:
    if not isinstance(embed, dict):
        raise MalformedMessage("embed is not a JSON object")
    for name, kind in _EMBEDDED.items():
        value = embed.get(name)
        parts = value if isinstance(value, list) else [] if value is None else [value]
        if not (value is None or isinstance(value, kind)) or not all(_is_signature(one) for one in parts):
            raise MalformedMessage(f"embed.{name} does not describe Celery tasks")
    return {name: embed.get(name) for name in _EMBEDDED}


def _is_signature(value: object) -> bool:
    """Return whether this has what Celery writes for each task that is to follow."""
    return isinstance(value, dict) and all(isinstance(value.get(key), kind) for key, kind in _SIGNATURE.items())


def _check_arguments(task: str, function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> None:
    """Check the arguments of a task of our own; a public task checks its own and answers the caller."""
    if "self" in kwargs:
        raise MalformedMessage("an argument is called self, which is Celery's name for the task")
    if task in PUBLIC:
        return
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        raise MalformedMessage("its arguments are not those of the task") from None
    if not all(isinstance(value, str) for value in (*args, *kwargs.values())):
        raise MalformedMessage("an argument is not a string")


def _id(message: Any, headers: Mapping[str, Any], task: str, kwargs: Mapping[str, Any]) -> str:
    """Return the message's id: the header, or AMQP's property. A key of the job itself makes an id unnecessary."""
    given = headers.get("id")
    if given is None:
        given = _mapping(message.properties).get("message_id")
    if given is None:
        has_key = kwargs.get("idempotency_key") or (task == RECORD and kwargs.get("carrier_message_id"))
        if task in (SEND, RECORD) and not has_key:
            raise MalformedMessage(
                "it has neither an id nor an idempotency_key, so a repeated delivery would look like another text"
            )
        return fingerprint(message)
    if not (isinstance(given, str) and given.strip() and given.isprintable() and len(given) <= LONGEST_ID):
        raise MalformedMessage(f"the header id is not a string of 1 to {LONGEST_ID} printable characters")
    return given


def _retries(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_RETRIES:
        raise MalformedMessage("the header retries is not a number of retries")
    return value


def _time(name: str, value: object) -> str:
    """Return the time as it was written, if it can be used."""
    try:
        moment = maybe_iso8601(value if isinstance(value, datetime) else str(value))
    except (ValueError, OverflowError):
        moment = None
    if moment is None or isinstance(value, int | float) or not plausible(moment):
        raise MalformedMessage(f"the header {name} is not an ISO 8601 time of this century")
    written: str = moment.isoformat()
    return written


def _harmless(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the headers or properties that Celery and the tracing libraries use, if they are of the right type."""
    names = {name: given[name] for name in _NAMES if isinstance(given.get(name), str)}
    numbers = {
        name: given[name]
        for name in _NUMBERS
        if isinstance(given.get(name), int | float) and not isinstance(given[name], bool)
    }
    flags = {"ignore_result": given["ignore_result"]} if isinstance(given.get("ignore_result"), bool) else {}
    return names | numbers | flags

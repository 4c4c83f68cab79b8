"""Which times of a request cannot be meant. Pure.

They are judged when a job is new. Repeating a request is harmless, however late.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from worker.core.text import duration
from worker.messages.request_problems import RequestProblem
from worker.messages.requests import RecordRequest, SendRequest

GRACE = timedelta(minutes=5)
"""How far the caller's clock may differ from ours, and how long a request may be on its way."""
LONGEST_WAIT = timedelta(days=7)
"""How long a job may have waited in a broker while no worker ran. If its text has expired meanwhile, it is stored as
expired, so that subscribers and callers hear of it.
"""
FURTHEST = timedelta(days=400)
"""As long as an idempotency key is kept by default (``retention.keys``), and longer than a year."""


def send_time_problems(request: SendRequest, now: datetime, waited: timedelta = timedelta(0)) -> list[RequestProblem]:
    """Return what is wrong with the times of a text to send. ``waited``: how long ago the caller may have asked."""
    problems = []
    if request.send_at is not None and request.send_at < now - GRACE - waited:
        problems.append(_past("send_at", request.send_at, now, "give a time to come, or leave it out to send now"))
    if request.send_at is not None and request.send_at > now + FURTHEST:
        sentence = f"send_at is more than {FURTHEST.days} days ahead ({_written(request.send_at)}); send the job later"
        problems.append(RequestProblem(("send_at",), sentence))
    if request.expires_at is not None and request.expires_at <= now - waited:
        problems.append(_past("expires_at", request.expires_at, now, "the text would never be sent"))
    return problems


def record_time_problems(request: RecordRequest, now: datetime) -> list[RequestProblem]:
    """Return what is wrong with the time of a text that was sent elsewhere."""
    if request.sent_at is None or request.sent_at <= now + GRACE:
        return []
    sentence = f"sent_at is in the future ({_written(request.sent_at)}); give the time at which the text was sent"
    return [RequestProblem(("sent_at",), sentence)]


def _past(field: str, at: datetime, now: datetime, hint: str) -> RequestProblem:
    return RequestProblem((field,), f"{field} is {duration(now - at)} in the past ({_written(at)}); {hint}")


def _written(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"

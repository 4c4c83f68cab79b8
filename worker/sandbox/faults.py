"""Injected faults: which requests a fault hits, and what happens to them."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass
from hashlib import blake2b
from threading import Lock
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from worker.sandbox.answers import HTML, SandboxAnswer, bad_request, error_envelope, gateway_page

Endpoint = Literal["send", "record", "create", "update", "get", "list", "webhook", "health", "unknown"]
Action = Literal["answer", "delay", "drop", "truncate", "garbage", "huge", "other"]
When = Literal["before", "after"]
ABOUT_THE_ANSWER = ("truncate", "garbage", "huge")
HUGE_BYTES = 1 << 40
"""More than any client reads."""


class Fault(BaseModel):
    """A fault: which requests it hits, and what happens to them.

    It hits a request if endpoint and phone match, ``skip`` matching requests have passed, fewer than ``calls`` were
    hit, and the random choice selects it. That choice depends on the seed, on the phone (or path) of the request and on
    how often it was seen, never on the order in which different requests arrive.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: Endpoint | Literal["*"] = Field("*", description="`record` is a send with `sendStatus`.")
    phone: str = Field("", description="Only requests about this customer, E.164. Empty: all.")
    probability: float = Field(1, ge=0, le=1, description="Hit each matching request with this probability.")
    above: int | None = Field(None, ge=1, description="Only requests beyond this many a second: a rate limit.")
    skip: int = Field(0, ge=0, description="Let this many matching requests pass first.")
    calls: int | None = Field(None, ge=1, description="End after this many hits. Left out: never.")

    action: Action = Field(
        description="`answer`: with `status`. `delay`: the right answer, late. `drop`: close without an answer. "
        "`truncate`: close after half of the answer. `garbage`: 200 with a body that is not an answer. `huge`: the "
        "right answer, announced as a terabyte long. `other`: 200 with another contact than the one asked for."
    )
    when: When | None = Field(
        None, description="Before or after the write. Left out: after for truncate, garbage and huge, else before."
    )
    delay_ms: int = Field(0, ge=0, description="Wait this long first.")
    reset: bool = Field(False, description="Drop with a RST instead of a FIN.")
    status: int = Field(500, ge=200, le=599, description="The status of `answer`.")
    body_kind: Literal["auto", "errors", "envelope", "html"] = Field(
        "auto", description="`auto`: the one that the platform uses for this status."
    )
    message: str = Field("", description="The message in the envelope.")
    body: str | None = Field(None, description="The whole body, instead of `body_kind` and `message`.")
    headers: dict[str, str] = Field(default_factory=dict, description="Such as Retry-After.")

    @model_validator(mode="after")
    def _truncated_after_the_write(self) -> Self:
        if self.when == "before" and self.action in ABOUT_THE_ANSWER:
            raise ValueError(f"{self.action} is about the answer to a write: leave `when` out or say after")
        return self

    @property
    def moment(self) -> When:
        """Return ``when``, or its default."""
        return self.when or ("after" if self.action in ABOUT_THE_ANSWER else "before")

    def answer(self) -> SandboxAnswer:
        """Return the answer of ``answer`` and ``garbage``."""
        if self.action == "garbage":
            body = "<!doctype html><title>Welcome</title>" if self.body is None else self.body
            return SandboxAnswer(200, body.encode(), HTML, self.headers)
        if self.body is not None:
            return SandboxAnswer(self.status, self.body.encode(), headers=self.headers)
        return self._usual_answer()._replace(status=self.status, headers=self.headers)

    def _usual_answer(self) -> SandboxAnswer:
        kind = self.body_kind
        if kind == "auto":
            kind = "errors" if self.status == 400 else "html" if self.status in (502, 504) else "envelope"
        if kind == "errors":
            return bad_request(self.message or "Bad request")
        return gateway_page(self.status) if kind == "html" else error_envelope(self.status, self.message)


@dataclass(frozen=True, slots=True)
class Injection:
    """A request that was hit. ``written``: the platform had carried it out, and stored it under these ids."""

    fault: int
    action: Action
    when: When
    endpoint: str
    phone: str
    written: bool
    contact_id: str = ""
    message_id: str = ""


class _Active:
    """A fault and how often it has matched."""

    def __init__(self, number: int, fault: Fault, seed: int) -> None:
        self.number, self.fault, self.matched, self.hits = number, fault, 0, 0
        self._seed = f"{seed}:{number}:"
        self._seen: Counter[str] = Counter()
        self._served: deque[float] = deque()

    def hit(self, endpoint: str, phone: str, path: str) -> bool:
        fault = self.fault
        if fault.endpoint not in ("*", endpoint) or (fault.phone and fault.phone != phone):
            return False
        if fault.calls is not None and self.hits >= fault.calls:
            return False
        self.matched += 1
        if self.matched <= fault.skip or not self._is_chosen(phone or path) or not self._is_too_much():
            return False
        self.hits += 1
        return True

    def _is_too_much(self) -> bool:
        if self.fault.above is None:
            return True
        now = time.monotonic()
        while self._served and self._served[0] <= now - 1:
            self._served.popleft()
        if len(self._served) >= self.fault.above:
            return True
        self._served.append(now)
        return False

    def _is_chosen(self, key: str) -> bool:
        if self.fault.probability >= 1:
            return True
        self._seen[key] += 1
        # A real hash, because a checksum of consecutive numbers is far from random.
        digest = blake2b(f"{self._seed}{key}:{self._seen[key]}".encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big") / 2**32 < self.fault.probability


class Faults:
    """The active faults, in the order they were added. One request is hit by one at most. Safe from any thread."""

    def __init__(self, seed: int = 0) -> None:
        self._lock, self._seed, self._last = Lock(), seed, 0
        self._active: list[_Active] = []

    def add(self, fault: Fault) -> int:
        """Activate ``fault`` and return its number."""
        with self._lock:
            self._last += 1
            self._active.append(_Active(self._last, fault, self._seed))
            return self._last

    def remove(self, number: int | None = None) -> int:
        """Remove one fault, or all. Return how many."""
        with self._lock:
            kept = [active for active in self._active if number not in (None, active.number)]
            removed = len(self._active) - len(kept)
            self._active = kept
            return removed

    def restart(self) -> None:
        """Remove all faults, and restart their numbers and random choices."""
        with self._lock:
            self._active, self._last = [], 0

    def pick(self, endpoint: str, phone: str, path: str) -> tuple[int, Fault] | None:
        """Return the fault that hits this request, with its number."""
        if not self._active:
            return None
        with self._lock:
            for active in self._active:
                if active.hit(endpoint, phone, path):
                    return active.number, active.fault
        return None

    def as_json(self) -> list[dict[str, object]]:
        """Return the active faults as JSON, with how many requests matched and were hit."""
        with self._lock:
            return [
                {"id": a.number, **a.fault.model_dump(), "matched": a.matched, "hits": a.hits} for a in self._active
            ]

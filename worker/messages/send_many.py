"""Enqueues many texts at once. Each has its own outcome, and none stops another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from worker.core.progress import Progress, untold
from worker.messages.outbox import Enqueued, insert_send
from worker.messages.requests import IdempotencyConflict, InvalidRequest, SendRequest
from worker.runtime import Runtime
from worker.store.db import STORE_AWAY, writing

CHUNK = 25
"""Texts per transaction: a commit for each would be slow, and SQLite's other writers wait for all of them."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NotStored:
    """The text was not stored, and is no worse than the others. ``again``: it can be sent again as it is."""

    again: bool


SendOutcome: TypeAlias = Enqueued | InvalidRequest | IdempotencyConflict | NotStored


def enqueue_many(
    runtime: Runtime,
    requests: Sequence[SendRequest],
    *,
    source: str,
    actor: str,
    test: bool = False,
    progress: Progress = untold,
) -> list[SendOutcome]:
    """Commit the texts and return the outcome of each, in order. ``test``: see ``enqueue_send``.

    If the store goes away, the rest can be sent again. If nothing was committed, raises one of STORE_AWAY.
    """
    outcomes: list[SendOutcome] = []
    for start in range(0, len(requests), CHUNK):
        try:
            outcomes += _chunk(runtime, requests[start : start + CHUNK], source, actor, test)
        except STORE_AWAY as error:
            if start == 0:
                raise
            log.warning("the store cannot be used; the rest of a batch was refused", error=type(error).__name__)
            return outcomes + [NotStored(again=True)] * (len(requests) - start)
        progress(len(outcomes), len(requests))
    return outcomes


def _chunk(runtime: Runtime, requests: Sequence[SendRequest], source: str, actor: str, test: bool) -> list[SendOutcome]:
    try:
        with writing(runtime.engine) as connection:
            found: list[SendOutcome] = []
            for request in requests:
                try:
                    found.append(insert_send(connection, runtime, request, source=source, actor=actor, test=test))
                except (InvalidRequest, IdempotencyConflict) as error:
                    found.append(error)
            return found
    except STORE_AWAY:
        raise
    except Exception:
        if len(requests) == 1:
            log.exception("a text of a batch could not be stored")
            return [NotStored(again=False)]
    # One of them cannot be stored, for a reason that nobody foresaw. Alone, each of the others can.
    alone: list[SendOutcome] = []
    for request in requests:
        try:
            alone += _chunk(runtime, [request], source, actor, test)
        except STORE_AWAY:
            if not alone:
                raise
            return alone + [NotStored(again=True)] * (len(requests) - len(alone))
    return alone

"""Reads the ids of messages and batches that a person typed, whole or short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from worker.cli.common import complain, local_time, usage

if TYPE_CHECKING:
    from worker.messages.short_ids import Candidate
    from worker.runtime import Runtime


def chosen_messages(runtime: Runtime, typed: Sequence[str]) -> list[str]:
    """Return the whole ids of messages. What is no message is returned as it was typed."""
    return [_meant(runtime, one, batches=False)[0] for one in typed]


def chosen_texts(runtime: Runtime, typed: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the whole ids of messages, and those of batches. What is no message counts as a batch."""
    found = [_meant(runtime, one, batches=True) for one in typed]
    return [one for one, is_batch in found if not is_batch], [one for one, is_batch in found if is_batch]


def _meant(runtime: Runtime, typed: str, *, batches: bool) -> tuple[str, bool]:
    """Return the whole id, and whether it is a batch. Say what it is; end the command if it may be several."""
    from worker.messages.read_models import is_message_id
    from worker.messages.short_ids import candidates
    from worker.store.db import reading

    if is_message_id(runtime, typed):
        return typed, False
    with reading(runtime.engine) as connection:
        found = candidates(connection, typed, batches=batches)
    if not found:
        return typed, batches
    if len(found) > 1:
        listed = "\n".join(f"  {_described(one)}" for one in found)
        usage(f'"{typed}" can mean several; nothing was done. Type more of the one that you mean:\n{listed}')
    complain(f"{typed} is {_described(found[0])}")
    return found[0].id, found[0].is_batch


def _described(one: Candidate) -> str:
    from worker.core.phones import mask

    if one.is_batch:
        return f"the batch {one.id} of {local_time(one.created_at)}"
    return f"the message {one.id} of {local_time(one.created_at)} to {mask(one.to_number)}, {one.state}"

"""Prints messages, for every command that shows them: rows of a table, and one message with its history."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from worker.cli.common import ago, local_time, say, table

if TYPE_CHECKING:
    from worker.messages.read_models import MessageDetails, MessageSummary
    from worker.runtime import Runtime


def short_ids_of(runtime: Runtime, ids: Collection[str]) -> Mapping[str, str]:
    """Return the ids of messages as a person may type them, see ``worker.messages.short_ids``."""
    from worker.messages.short_ids import short_ids
    from worker.store.db import reading

    with reading(runtime.engine) as connection:
        return short_ids(connection, ids)


def show_messages(runtime: Runtime, messages: Sequence[MessageSummary]) -> None:
    """Print a row for each message, or a block of lines on a narrow terminal."""
    ids = short_ids_of(runtime, [one.id for one in messages])
    table(
        ["Id", "State", "When", "To", "Asked by", "Text", "Why"],
        (
            (
                *(ids[one.id], one.state, ago(one.created_at), one.to_number, _asked_by(one)),
                *(_shortened(one, 60), one.reason),
            )
            for one in messages
        ),
        lead=("Id", "State", "When", "To"),
    )


def show_message(message: MessageDetails, short_id: str) -> None:
    """Print one message with its history."""
    from worker.messages.metadata import value_text

    asked_by = (f"trigger {message.trigger}" if message.trigger else message.source) + (
        ", test" if message.test else ""
    )
    say(f"  {message.kind} {short_id}: {message.state} ({asked_by}, from {message.from_number})", "bold", hang=4)
    say(f"    “{_shortened(message, 200)}”")
    for url in message.media:
        say(f"    with {url}")
    if message.metadata:
        say(f"    metadata: {', '.join(f'{key}={value_text(one)}' for key, one in message.metadata.items())}")
    if outlook := outlook_line(message):
        say(f"    {outlook}")
    for step in message.steps:
        why = f": {step.reason}" if step.reason else ""
        say(f"    {local_time(step.at)}  {step.after}{why} ({step.actor})", hang=6)


def outlook_line(message: MessageDetails) -> str:
    """Say when a queued text will go; "" for all others."""
    if message.kind != "send" or message.state != "queued":
        return ""
    if message.expected_at is None:
        return "unless something changes, it will not go before it expires"
    return f"it will go at {message.expected_at.astimezone():%Y-%m-%d %H:%M %Z}"


def is_pruned(message: MessageSummary) -> bool:
    """Return whether retention has removed the text."""
    return not message.text and message.segments > 0


def _asked_by(message: MessageSummary) -> str:
    marks = [mark for mark, is_marked in (("record", message.kind == "record"), ("test", message.test)) if is_marked]
    who = message.trigger or message.source
    return f"{who} ({', '.join(marks)})" if marks else who


def _shortened(message: MessageSummary, limit: int) -> str:
    """Return the text of a message, cut to ``limit`` characters."""
    if is_pruned(message):
        return "(pruned, see retention.texts)"
    return message.text if len(message.text) <= limit else message.text[: limit - 1] + "…"

"""Prints messages, for every command that shows them: rows of a table, and one message with its history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from worker.cli.common import ago, console, local_time, say, table

if TYPE_CHECKING:
    from worker.messages.read_models import MessageDetails, MessageSummary


TABLE_WIDTH = 120
"""Narrower terminals get blocks of lines, because a table would break every cell into pieces."""


def show_messages(messages: Sequence[MessageSummary]) -> None:
    """Print a table with one row for each message, or a block of lines each on a narrow terminal."""
    if console().width < TABLE_WIDTH:
        for one in messages:
            say(f"{one.id}  {one.state}  {one.to_number}  {_asked_by(one)}, {ago(one.created_at)}", hang=4)
            say(f"    {_shortened(one, 60)}")
            if one.reason:
                say(f"    {one.reason}")
        return
    table(
        ["Id", "State", "To", "Asked by", "When", "Text", "Why"],
        (
            (one.id, one.state, one.to_number, _asked_by(one), ago(one.created_at), _shortened(one, 60), one.reason)
            for one in messages
        ),
    )


def show_message(message: MessageDetails) -> None:
    """Print one message with its history."""
    from worker.messages.metadata import value_text

    asked_by = (f"trigger {message.trigger}" if message.trigger else message.source) + (
        ", test" if message.test else ""
    )
    say(f"  {message.kind} {message.id} ({asked_by}, from {message.from_number}): {message.state}", "bold")
    say(f"    “{_shortened(message, 200)}”")
    for url in message.media:
        say(f"    with {url}")
    if message.metadata:
        say(f"    metadata: {', '.join(f'{key}={value_text(one)}' for key, one in message.metadata.items())}")
    if outlook := outlook_line(message):
        say(f"    {outlook}")
    for step in message.steps:
        say(f"    {local_time(step.at)}  {step.after}{': ' + step.reason if step.reason else ''} ({step.actor})")


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

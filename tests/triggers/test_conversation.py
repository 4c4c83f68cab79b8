"""Conditions over a conversation: what they can ask, what is refused, and what nobody gets to see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from worker.runtime.load import _condition_problems, _only_if_problems
from worker.triggers.conditions import asks_about_conversation, condition_fields, holds, judge
from worker.triggers.conversation import ConversationFacts
from worker.triggers.templates import problems, template_fields

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def talk(text: datetime | None = None, reply: datetime | None = None, words: str = "") -> ConversationFacts:
    return ConversationFacts(NOW, ago(hours=2), text, reply, words)


SILENT = talk()
TEXTED = talk(ago(days=3))
ANSWERED = talk(ago(days=3), ago(days=2), "Yes please")
RECENT = talk(ago(hours=5), ago(hours=1), "ok 👍")
WROTE_FIRST = talk(None, ago(days=30), "Hello?")

# condition, conversation, if it holds
CASES: list[tuple[str, ConversationFacts, bool]] = [
    ("conversation.last_text_at == nil", SILENT, True),
    ("conversation.last_text_at == nil", TEXTED, False),
    ("conversation.last_text_at", TEXTED, True),
    ("conversation.last_reply_at == nil", TEXTED, True),
    ("conversation.last_reply_at == nil", ANSWERED, False),
    ("conversation.last_reply_at > '2027-02-20'", ANSWERED, True),
    ("conversation.last_reply_at > '2027-02-28'", ANSWERED, False),
    ("conversation.last_reply_at > due", ANSWERED, True),
    ("conversation.last_reply contains 'Yes'", ANSWERED, True),
    ("conversation.last_reply contains 'Yes'", SILENT, False),
    ("conversation.last_reply == nil", SILENT, True),
    ("conversation.replied_since.trigger", ANSWERED, False),
    ("conversation.replied_since.trigger", RECENT, True),
    ("conversation.replied_since.trigger == false", SILENT, True),
    ("conversation.replied_since.last_text", ANSWERED, True),
    ("conversation.replied_since.last_text", TEXTED, False),
    ("conversation.replied_since.last_text", talk(ago(days=1), ago(days=2)), False),
    ("conversation.replied_since.last_text", WROTE_FIRST, True),
    ("conversation.replied_since['7d']", ANSWERED, True),
    ("conversation.replied_since['7d']", WROTE_FIRST, False),
    ("conversation.replied_since['90m']", RECENT, True),
    ("conversation.replied_since['30m']", RECENT, False),
    ("conversation.replied_since['7d'] == false", SILENT, True),
    ("conversation.texted_since['24h']", RECENT, True),
    ("conversation.texted_since['24h']", TEXTED, False),
    ("conversation.texted_since['24h'] == false", SILENT, True),
    ("conversation.texted_since.trigger", talk(ago(hours=1)), True),
    ("conversation.texted_since.trigger", TEXTED, False),
    ("status == 'ready' and conversation.replied_since['2d'] == false", TEXTED, True),
    ("status == 'sold' or conversation.replied_since['1d']", RECENT, True),
    # the field of a CRM with this name
    ("conversation == 'open'", SILENT, True),
]


@pytest.mark.parametrize(("condition", "conversation", "expected"), CASES)
def test_what_a_condition_can_ask(condition: str, conversation: ConversationFacts, expected: bool) -> None:
    record = {"status": "ready", "due": "2027-02-01", "conversation": "open"}
    assert _only_if_problems(condition) == []
    assert holds(condition, record, {}, conversation=conversation) is expected


FAULTS: list[tuple[str, str]] = [
    ("conversation.last_txt_at", "conversation has no last_txt_at; it has last_text_at, last_reply_at"),
    ("conversation.replied_since", "conversation.replied_since needs a moment: conversation.replied_since.trigger or "),
    ("conversation.replied_since.yesterday", "needs a moment"),
    ("conversation.replied_since['7 weeks']", "needs a moment"),
    ("conversation.replied_since[status]", "needs a moment"),
    ("conversation.texted_since.last_text", "needs a moment"),
    ("conversation.last_reply.size == 3", "conversation.last_reply is one plain value"),
]


@pytest.mark.parametrize(("condition", "problem"), FAULTS)
def test_what_can_never_be_asked_is_found_before_anything_runs(condition: str, problem: str) -> None:
    (found,) = _only_if_problems(condition)
    assert problem in found


def test_a_condition_over_versions_cannot_ask_about_the_conversation() -> None:
    (found,) = _condition_problems("stage == 'won' and conversation.last_text_at == nil")
    assert found == "a condition compares two versions of the record; ask about the conversation in only_if"
    assert _condition_problems("conversation == 'open'") == []


def test_a_message_cannot_use_the_conversation() -> None:
    (found,) = problems("You wrote {{ conversation.last_reply }}")
    assert "conversation.last_reply is for only_if" in found
    assert problems("{{ conversation }}") == []


def test_the_conversation_is_no_field_of_the_source() -> None:
    condition = "stage == 'x' and conversation.last_text_at == nil and conversation.replied_since['7d']"
    assert condition_fields(condition).names == ("stage",)
    assert asks_about_conversation(condition)
    assert condition_fields("conversation == 'open'").names == ("conversation",)
    assert not asks_about_conversation("conversation == 'open'")
    assert template_fields("{{ conversation }}").names == ("conversation",)


@pytest.mark.parametrize("condition", [condition for condition, *_ in CASES if "conversation." in condition])
def test_without_a_conversation_nothing_is_sent(condition: str) -> None:
    assert not holds(condition, {"status": "lost"}, {})


def test_what_people_write_is_never_shown() -> None:
    found = judge("conversation.last_reply > 5", {}, conversation=talk(None, ago(days=1), "my secret"))
    assert found.holds is False
    assert found.unread == ("conversation.last_reply", "...")

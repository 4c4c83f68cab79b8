"""The documentation says what the code does: states, and the words of messages that people search for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from worker.core.states import MessageState
from worker.messages.states import EDGES

ROOT = Path(__file__).parents[1]
_PACKAGES = ("worker", "crm_adapters", "config")


def rows_of(page: str, columns: int) -> list[list[str]]:
    """The rows of all tables of a page, without their headings."""
    lines = [line for line in (ROOT / "docs" / page).read_text("utf-8").splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    return [row for row in rows if len(row) == columns and row[0] not in {"---", "state", "I see"}]


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


STATES = {names_in(row[0])[0]: names_in(row[2]) for row in rows_of("message-states.md", 4)}


def test_every_state_is_described() -> None:
    assert list(STATES) == [str(state) for state in MessageState]


@pytest.mark.parametrize("state", list(MessageState))
def test_what_a_state_may_become(state: MessageState) -> None:
    assert set(STATES[state]) == {str(edge.after) for edge in EDGES if edge.before is state}


WORDS = sorted({word for row in rows_of("troubleshooting.md", 3) for word in names_in(row[0])})


def test_there_are_words_to_search_for() -> None:
    assert len(WORDS) > 25


@pytest.fixture(scope="module")
def messages() -> str:
    """The source as one text, in which a message that is written over several lines is whole."""
    files = (path for package in _PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    text = "\n".join(path.read_text("utf-8") for path in files)
    return re.sub(r'"\s*\n\s*f?"', "", text)


@pytest.mark.parametrize("words", WORDS)
def test_messages_that_are_explained_exist(messages: str, words: str) -> None:
    assert words in messages

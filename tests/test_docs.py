"""The documentation says what the code does: states, words of messages, references, the sandbox, the versions."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest
from packaging.version import Version

from config.alert_kinds import AlertKind
from worker.core.findings import DOCS, FindingCode
from worker.core.states import MessageState
from worker.messages.states import EDGES, MEANINGS
from worker.sandbox.document import with_tables

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


def test_the_pages_say_the_same_about_each_state() -> None:
    meanings = {names_in(row[0])[0]: row[1] for row in rows_of("message-states.md", 4)}
    assert list(MEANINGS) == list(MessageState)
    assert [state for state, text in MEANINGS.items() if not meanings[state].startswith(text)] == []


@pytest.mark.parametrize("state", list(MessageState))
def test_what_a_state_may_become(state: MessageState) -> None:
    assert set(STATES[state]) == {str(edge.after) for edge in EDGES if edge.before is state}


def test_every_finding_and_alert_has_its_entry() -> None:
    entries = re.findall(r"^### `(.+)`$", (ROOT / DOCS).read_text("utf-8"), re.MULTILINE)
    assert sorted(entries) == sorted(str(one) for one in (*AlertKind, *FindingCode))


def test_every_code_of_a_finding_is_used() -> None:
    sources = "".join(path.read_text("utf-8") for path in sorted((ROOT / "worker").rglob("*.py")))
    assert [one for one in FindingCode if f"FindingCode.{one.name}" not in sources] == []


def words_of(page: Path) -> set[str]:
    """The words of messages that a page explains: all of troubleshooting.md, a section of the other pages."""
    text = page.read_text("utf-8")
    if page.name != "troubleshooting.md":
        text = text.partition("\n## What goes wrong\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (.+?) \| ", text, re.MULTILINE)
    return {word for cell in cells for word in names_in(cell) if " " in word}


EXPLAINED = [
    ROOT / "docs" / "troubleshooting.md",
    ROOT / "docs" / "openid-connect.md",
    *sorted(ROOT.glob("docs/adapters/*.md")),
    *sorted(ROOT.glob("docs/carriers/*.md")),
]
WORDS = sorted({(page.name, word) for page in EXPLAINED for word in words_of(page)})


def test_there_are_words_to_search_for() -> None:
    assert len(WORDS) > 100


@pytest.fixture(scope="module")
def messages() -> str:
    """The source as one text, in which a message that is written over several lines is whole."""
    files = (path for package in _PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    text = "\n".join(path.read_text("utf-8") for path in files)
    return re.sub(r'"\s*\n\s*f?"', "", text)


@pytest.mark.parametrize(("page", "words"), WORDS)
def test_messages_that_are_explained_exist(messages: str, page: str, words: str) -> None:
    assert words in messages, f"{page} explains a message that no longer exists"


# --- references


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


REFERENCES = sorted(
    {
        found
        for package in _PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for found in re.findall(r"\bdocs/[\w/-]+\.md(?:#[\w-]+)?", path.read_text("utf-8"))
    }
)


def test_messages_refer_to_pages() -> None:
    assert "docs/relay.md" in REFERENCES


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_page_that_a_message_names_exists_with_its_section(reference: str) -> None:
    file, _, anchor = reference.partition("#")
    assert (ROOT / file).is_file()
    assert not anchor or anchor in anchors_of(ROOT / file)


# --- the sandbox


def test_the_tables_of_the_sandbox_are_up_to_date() -> None:
    page = (ROOT / "docs" / "sandbox.md").read_text("utf-8")
    assert with_tables(page) == page, "run: python -m worker.sandbox.document docs/sandbox.md"


# --- lists on the site


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("* a\n  b\n* c", "* a\n    b\n* c"),
        ("1. a\n\n   b\n2. c", "1. a\n\n    b\n\n2. c"),
        ("1. a\n   * b\n     c\n\nd", "1. a\n    * b\n        c\n\nd"),
        (
            "1. a\n\n   ```toml\n   [x]\n   * no = 1\n   ```\n\n2. b",
            "1. a\n\n    ```toml\n    [x]\n    * no = 1\n    ```\n\n2. b",
        ),
        ("```sh\n  a\n* b\n    c\n```", "```sh\n  a\n* b\n    c\n```"),
        ("| a |\n| --- |\n| **b** |", "| a |\n| --- |\n| **b** |"),
        ("**bold** text\n  more", "**bold** text\n  more"),
    ],
)
def test_what_belongs_to_an_item_is_four_columns_deeper(
    written: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_site"))
    assert importlib.import_module("lists").indented(written) == shown


# --- versions


def test_the_changelog_has_the_versions_from_the_newest_on() -> None:
    first, *released = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert first == "Unreleased"
    found = [re.fullmatch(r"(\d+\.\d+\.\d+), \d{4}-\d\d-\d\d", heading) for heading in released]
    assert all(found), f"a version is written like 0.2.0, 2027-01-31: {released}"
    versions = [Version(one[1]) for one in found if one]
    assert versions == sorted(versions, reverse=True)
    current = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert versions[0] == Version(current), "pyproject.toml and the newest heading name the same version"
    images = re.findall(r"image: virtualtext-crm-sync:(\S+)", (ROOT / "docs/deploy/kubernetes.yaml").read_text("utf-8"))
    assert set(images) == {current}

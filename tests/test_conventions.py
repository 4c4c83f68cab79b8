"""The conventions of CONTRIBUTING.md that a program can check: one name for one thing, one place for one rule."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for folder in ("config", "crm_adapters", "worker") for path in (ROOT / folder).rglob("*.py"))

SAME_NAME_ON_PURPOSE = {
    "main": "the entry point of a program",
    "routes": "what a module adds to the HTTP API",
    "has_due": "what the registry of background work asks each kind",
    "oldest_due": "what the registry of background work asks each kind",
    "parse": "what every carrier's file has",
    "verify": "what every carrier's file has",
}
"""Public functions that more than two modules may have, and why."""

UNCLEAR = [
    r"\bof late\b",
    r"\bin earnest\b",
    r"\bcosts the others nothing\b",
    r"\bno more\b(?! (?:than|time|work|\w+s)\b)",
    r"\bwhat it came to\b",
    r"\bhow things stand\b",
    r"\bbeside what\b",
    r"\bhands? on\b",
    r"\bhanded on\b",
    r"\bfor ever\b",
    r"\bby its own word\b",
    r"\b(?:is|was) away\b",
    r"\breturns? since when\b",
    r"\bTell if\b",
    r"\bworked off\b",
    r"\bas things are\b",
    r"\bwhat (?:becomes|came) of\b",
    r"\b(?:go|goes|going) on (?:without|from)\b",
    r"\bfor good\b(?! reason)",
    r"\blose their words\b",
    r"\bnothing on the wire\b",
    r"\bwith TLS before\b",
    r"\bof the inside\b",
]
"""Phrases that readers stumble over. Say it in plain words: subject, verb, object."""


def _top_level(kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> Iterator[tuple[str, str]]:
    for path in SOURCES:
        if "migrations/versions" in path.as_posix():
            continue
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, kind) and not node.name.startswith("_"):  # type: ignore[attr-defined]
                yield node.name, path.relative_to(ROOT).as_posix()  # type: ignore[attr-defined]


def test_no_class_name_means_two_things() -> None:
    found = defaultdict(list)
    for name, path in _top_level(ast.ClassDef):
        found[name].append(path)
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


def test_no_public_function_name_is_in_three_modules() -> None:
    found = defaultdict(set)
    for name, path in _top_level((ast.FunctionDef, ast.AsyncFunctionDef)):
        found[name].add(path)
    repeated = {name: sorted(paths) for name, paths in found.items() if len(paths) > 2}
    assert {name: paths for name, paths in repeated.items() if name not in SAME_NAME_ON_PURPOSE} == {}


def test_worker_holds_only_entry_points_and_packages() -> None:
    assert {path.name for path in (ROOT / "worker").glob("*.py")} == {"__init__.py", "app.py", "tasks.py"}


def test_leases_and_back_off_have_one_place() -> None:
    lease = re.compile(r"lease_(?:owner|until)\"?\s*[=:]\s*(?!=)")
    formula = re.compile(r"(?<![\w.])2(?:\.0)?\s*\*\*\s*\(?\w*(?:attempt|retr|fail|trip)|<<\s*\(?min\(")
    owners = {"worker/store/leases.py", "worker/store/models.py", "worker/core/backoff.py"}
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in SOURCES
        if path.relative_to(ROOT).as_posix() not in owners and "migrations" not in path.as_posix()
        for line in path.read_text("utf-8").splitlines()
        if lease.search(line) or formula.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("phrase", UNCLEAR)
def test_text_is_plain_english(phrase: str) -> None:
    pattern = re.compile(phrase, re.IGNORECASE)
    documents = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in [*SOURCES, *documents]
        if "migrations/versions" not in path.as_posix()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []

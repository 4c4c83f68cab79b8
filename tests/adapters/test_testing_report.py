"""The table of promises: what it says, and that the documentation is current."""

from __future__ import annotations

from pathlib import Path

import pytest

from crm_adapters.testing import AdapterConformance, WritesConformance
from crm_adapters.testing.report import coverage, main, promises, render, with_part
from tests.adapters.broken import report as broken

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "conformance.md"

SAMPLE = '''
from crm_adapters.testing import AdapterHooks
from tests.adapters.broken.good import Kit


class TestAcme(Kit):
    """Everything that the kit of these tests has, except one hook."""

    make_large_source = AdapterHooks.make_large_source
'''


def test_the_documented_promises_are_current() -> None:
    text = DOCUMENT.read_text("utf-8")
    wanted = with_part(text, "promises", render(coverage(ROOT / "tests" / "adapters")))
    assert text == wanted, "run python -m crm_adapters.testing.report tests/adapters docs/conformance.md"


def test_the_documented_broken_adapters_are_current() -> None:
    text = DOCUMENT.read_text("utf-8")
    wanted = with_part(text, "caught", broken.render())
    assert text == wanted, "run python -m tests.adapters.broken.report docs/conformance.md"


def test_every_test_is_a_promise() -> None:
    tests = {name for cls in (AdapterConformance, WritesConformance) for name in dir(cls) if name.startswith("test_")}
    assert set(promises()) == tests
    assert all(promises().values())


def test_it_says_what_is_not_tested_and_why(tmp_path: Path) -> None:
    (tmp_path / "test_conformance_acme.py").write_text(SAMPLE, "utf-8")
    (acme,) = coverage(tmp_path)
    assert acme.adapter == "acme"
    assert {test: reason for test, reason in acme.reasons.items() if reason} == {
        "test_memory_is_flat": "not measured (hook `make_large_source`)"
    }
    file = tmp_path / "page.md"
    file.write_text("before\n<!-- promises -->\nthe stale table\n<!-- end of promises -->\nafter\n", "utf-8")
    assert main([str(tmp_path), str(file)]) == 0
    written = file.read_text("utf-8")
    assert "| Memory does not grow with the number of records. | no (1) |" in written
    assert "1. not measured (hook `make_large_source`)" in written
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "stale" not in written


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "usage:"),
        (["nowhere", "page.md"], 1, "nowhere has no test_conformance_*.py"),
        (["ours", "page.md"], 1, "page.md was not written: the file needs a line"),
        (["ours", "missing.md"], 1, "missing.md was not written"),
    ],
)
def test_mistakes_are_told(
    arguments: list[str], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "test_conformance_acme.py").write_text(SAMPLE, "utf-8")
    (tmp_path / "page.md").write_text("nothing here\n", "utf-8")
    assert main([str(tmp_path / one) for one in arguments]) == code
    assert said in capsys.readouterr().err

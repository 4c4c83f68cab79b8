"""Writes a table of the promises that each adapter's tests cover, and why they do not cover the others.

    python -m crm_adapters.testing.report FOLDER FILE

FOLDER holds the tests, ``test_conformance_*.py``. The table replaces the part of FILE between ``<!-- promises -->`` and
``<!-- end of promises -->``. Running the tests is pytest's part: the table says what they cover.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from config.generated_part import replace_part
from crm_adapters.base import WritesMessages
from crm_adapters.testing import AdapterConformance, WritesConformance
from crm_adapters.testing.hooks import AdapterHooks, reason_against

USAGE = "usage: python -m crm_adapters.testing.report FOLDER FILE"
NOT_WRITING = "it writes nothing to its CRM (`WritesMessages`)"
FORGOTTEN = "**missing**: its tests do not inherit `WritesConformance`"


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the tests of one adapter cover: for each promise "" if it is tested, else the reason why not."""

    adapter: str
    reasons: Mapping[str, str]


def promises() -> dict[str, str]:
    """Return the tests of the kit in the order of their modules, each with what it promises."""
    parts = [*AdapterConformance.__bases__, WritesConformance]
    tests = {name: test for part in parts for name, test in vars(part).items() if name.startswith("test_")}
    return {name: inspect.cleandoc(test.__doc__).replace("\n", " ").replace("``", "`") for name, test in tests.items()}


def coverage(folder: Path) -> list[Coverage]:
    """Return what the tests in this folder cover, by adapter. Several classes of tests may test one adapter."""
    found: dict[str, list[AdapterHooks]] = {}
    for cls in _test_classes(folder):
        hooks = cls()
        found.setdefault(hooks._facts().cls.name, []).append(hooks)
    return [
        Coverage(name, {test: min(_reason(one, test) for one in several) for test in promises()})
        for name, several in sorted(found.items())
    ]


def render(adapters: list[Coverage]) -> str:
    """Return the table as Markdown, and below it the reasons, numbered."""
    reasons: dict[str, int] = {}
    rows = [["promise", *(f"`{one.adapter}`" for one in adapters)], ["---"] * (len(adapters) + 1)]
    for test, promise in promises().items():
        row = [promise.replace("|", "\\|")]
        for one in adapters:
            reason = one.reasons[test]
            row.append(f"no ({reasons.setdefault(reason, len(reasons) + 1)})" if reason else "tested")
        rows.append(row)
    notes = [f"{number}. {reason}" for reason, number in reasons.items()]
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", "Not tested, because:", "", *notes])


def with_part(text: str, name: str, part: str) -> str:
    """Return a document whose part with this name is replaced. Raises ValueError if it has no such part."""
    return replace_part(text, f"<!-- {name} -->", f"<!-- end of {name} -->", part)


def _test_classes(folder: Path) -> Iterator[type[AdapterHooks]]:
    for path in sorted(folder.glob("test_conformance_*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            continue
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for cls in vars(module).values():
            concrete = isinstance(cls, type) and issubclass(cls, AdapterConformance) and not inspect.isabstract(cls)
            if concrete and cls.__module__ == module.__name__:
                yield cls


def _reason(hooks: AdapterHooks, test: str) -> str:
    if hasattr(hooks, test):
        return reason_against(hooks, test)
    return FORGOTTEN if issubclass(hooks._facts().cls, WritesMessages) else NOT_WRITING


def main(arguments: list[str]) -> int:
    """Write the table into a file."""
    if len(arguments) != 2:
        sys.stderr.write(f"{USAGE}\n")
        return 2
    folder, file = map(Path, arguments)
    adapters = coverage(folder)
    if not adapters:
        sys.stderr.write(f"{folder} has no test_conformance_*.py with a class that inherits AdapterConformance\n")
        return 1
    try:
        file.write_text(with_part(file.read_text("utf-8"), "promises", render(adapters)), "utf-8")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{file} was not written: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Generates tables of docs/adapters.md and docs/adapters/*.md: ``python -m crm_adapters.document docs``."""

from __future__ import annotations

import sys
from pathlib import Path

from config.generated_part import marks, replace_part, write_documents
from config.reference import key_table
from crm_adapters.base import WakesOnEvents, WritesMessages
from crm_adapters.oauth import ConnectsByOAuth
from crm_adapters.registry import BUILT_IN, adapter_class

COMMAND = "python -m crm_adapters.document docs"
OVERVIEW = marks("adapters", COMMAND)
OPTIONS = marks("options", COMMAND)
_ABILITIES = (WritesMessages, WakesOnEvents, ConnectsByOAuth)


def documents(docs: Path) -> dict[Path, str]:
    """Return the overview and the page of each built-in adapter as they should be. Raises OSError, ValueError."""
    overview = docs / "adapters.md"
    found = {overview: replace_part(overview.read_text("utf-8"), *OVERVIEW, f"\n{_overview()}\n")}
    for name in BUILT_IN:
        page = docs / "adapters" / f"{name}.md"
        options = key_table(adapter_class(name).Options)
        found[page] = replace_part(page.read_text("utf-8"), *OPTIONS, f"\n{options}\n")
    return found


def _overview() -> str:
    return "\n".join(
        [
            "| adapter | what it reads | writes texts and opt-outs | takes events of the CRM | a person's consent |",
            "| --- | --- | --- | --- | --- |",
            *map(_row, sorted(BUILT_IN)),
        ]
    )


def _row(name: str) -> str:
    cls = adapter_class(name)
    able = ("yes" if issubclass(cls, ability) else "no" for ability in _ABILITIES)
    return f"| [`{name}`](adapters/{name}.md) | {' | '.join([cls.summary, *able])} |"


if __name__ == "__main__":
    write_documents(documents(Path(sys.argv[1])))

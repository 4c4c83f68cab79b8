"""Generates the tables of docs/carriers.md and docs/carriers: ``python -m worker.carriers.document docs``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from config.generated_part import marks, replace_part, write_documents
from worker.carriers.provider import Provider
from worker.carriers.registry import CARRIERS

COMMAND = "python -m worker.carriers.document docs"
OVERVIEW = marks("carriers", COMMAND)
CODES = marks("codes", COMMAND)


def documents(docs: Path) -> dict[Path, str]:
    """Return the overview and the page of each carrier as they should be. Raises OSError, ValueError."""
    overview = docs / "carriers.md"
    found = {overview: replace_part(overview.read_text("utf-8"), *OVERVIEW, f"\n{_overview()}\n")}
    for name, provider in CARRIERS.items():
        page = docs / "carriers" / f"{name}.md"
        found[page] = replace_part(page.read_text("utf-8"), *CODES, f"\n{_codes(provider)}\n")
    return found


def _overview() -> str:
    return "\n".join(
        [
            "| carrier | keys that verify its events | content of a text can be looked up | list of sent texts "
            "(`poll_every`) | list of opt-outs | codes of opt-outs |",
            "| --- | --- | --- | --- | --- | --- |",
            *(_row(name, CARRIERS[name]) for name in sorted(CARRIERS)),
        ]
    )


def _row(name: str, provider: Provider) -> str:
    able = (provider.look_up, provider.list_sent, provider.list_opt_outs)
    cells = [_named(provider.needs), *("no" if one is None else "yes" for one in able), _named(provider.opt_out_codes)]
    return f"| [`{name}`](carriers/{name}.md) | {' | '.join(cells)} |"


def _codes(provider: Provider) -> str:
    rows = [
        f"| `{code}` | [{one.meaning}]({one.source}) | {'opt-out' if one.certain else 'review: a person decides'} |"
        for code, one in provider.opt_out_codes.items()
    ]
    return "\n".join(["| code | meaning | effect |", "| --- | --- | --- |", *rows])


def _named(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    write_documents(documents(Path(sys.argv[1])))

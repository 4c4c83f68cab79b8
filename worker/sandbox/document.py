"""Generates the tables of docs/sandbox.md from the models: ``python -m worker.sandbox.document docs/sandbox.md``."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import BaseModel

from config.generated_part import marks, replace_part
from config.reference import key_table
from worker.sandbox.behaviour import Behaviour, RelaySwitches
from worker.sandbox.faults import Fault

COMMAND = "python -m worker.sandbox.document docs/sandbox.md"
PARTS: dict[str, type[BaseModel]] = {"faults": Fault, "behaviour": Behaviour, "relay": RelaySwitches}


def with_tables(document: str) -> str:
    """Replace the tables of ``document``, each between its two marks. Raises ValueError."""
    for name, model in PARTS.items():
        document = replace_part(document, *marks(name, COMMAND), f"\n{key_table(model)}\n")
    return document


def main(arguments: list[str]) -> None:
    """Update the tables in the named Markdown file."""
    path = Path(arguments[0])
    path.write_text(with_tables(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

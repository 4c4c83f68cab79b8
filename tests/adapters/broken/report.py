"""Writes the table of broken adapters into a document: ``python -m tests.adapters.broken.report FILE``."""

from __future__ import annotations

import sys
from pathlib import Path

from crm_adapters.testing.report import with_part
from tests.adapters.broken.catalogue import catalogue


def render() -> str:
    rows = [f"| {one.idea} | `{one.test}` |" for one in catalogue()]
    return "\n".join(["| an adapter that | is caught by |", "| --- | --- |", *rows])


def main(file: Path) -> None:
    file.write_text(with_part(file.read_text("utf-8"), "caught", render()), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

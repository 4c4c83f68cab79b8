"""The broker and the store of a benchmark, for its configuration file."""

from __future__ import annotations

import os


def engines(broker: str | None, store: str | None) -> str:
    """Return the sections of both. The URLs, which may contain passwords, go into the environment of this process."""
    sections = ""
    for section, url in (("broker", broker), ("store", store)):
        if url:
            os.environ[f"BENCH_{section.upper()}"] = url
            sections += f'[{section}]\nurl = {{ env = "BENCH_{section.upper()}" }}\n'
    return sections

"""The broker and the store that a benchmark works on, for its configuration file."""

from __future__ import annotations

import os


def engines(broker: str | None, store: str | None) -> str:
    """The sections that name them. The URLs, which may hold passwords, go into the environment of this process."""
    sections = ""
    for section, url in (("broker", broker), ("store", store)):
        if url:
            os.environ[f"BENCH_{section.upper()}"] = url
            sections += f'[{section}]\nurl = {{ env = "BENCH_{section.upper()}" }}\n'
    return sections

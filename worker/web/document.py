"""Writes the OpenAPI document: ``python -m worker.web.document docs/openapi.json``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from config.models import Settings
from worker.runtime import Runtime
from worker.web.app import create_app


def document() -> dict[str, Any]:
    """Return the description of the HTTP API, without the address of a server."""
    return create_app(Runtime(Settings())).openapi()


def written(described: dict[str, Any]) -> str:
    """Return the document as the file has it. Fields keep their order, which is the order on the page."""
    return json.dumps(described, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Write the OpenAPI document.")
    arguments.add_argument("path", type=Path)
    arguments.parse_args().path.write_text(written(document()), encoding="utf-8")

"""The last configuration that could be used, kept in the data folder.

A mistake in the file must not hide the fleet that still runs with the configuration before it. So each process keeps
what it has read, as it is written: secrets stay references to variables and files, and are not in the copy.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import SecretStr, ValidationError

from config.models import Settings
from config.redact import is_reference, redact_options
from config.renamed import with_current_names
from config.types import FromFile, resolve_reference

NAME = "last-good-configuration.json"
_UNKNOWN = SecretStr("unknown-because-its-reference-cannot-be-read")


class LastGood(NamedTuple):
    """The settings, and when they were first read."""

    settings: Settings
    since: datetime


def keep_last_good(path: Path, data: Mapping[str, Any], data_dir: Path) -> None:
    """Keep the parsed ``data`` of the file at ``path``, which could be used. Does nothing where it cannot write."""
    kept = data_dir / NAME
    text = json.dumps({"file": str(path), "data": _without_literals(data)}, default=str)
    with suppress(OSError, ValueError):
        if kept.is_file() and kept.read_text(encoding="utf-8") == text:
            return
        data_dir.mkdir(0o700, exist_ok=True)
        part = kept.with_name(f"{NAME}.{os.getpid()}")
        part.touch(mode=0o600)
        part.write_text(text, encoding="utf-8")
        part.replace(kept)


def recall_last_good(path: Path, data_dir: Path) -> LastGood | None:
    """Return what was kept of the file at ``path``; None if there is nothing that can be used.

    A secret whose reference cannot be resolved is replaced, so these settings must not be used to call anybody.
    """
    kept = data_dir / NAME
    try:
        found = json.loads(kept.read_text(encoding="utf-8"))
        if found["file"] != str(path):
            return None
        context = FromFile(path.parent)
        data = _resolvable(with_current_names(found["data"]).data, context)
        settings = Settings.model_validate(data, context=context)
        return LastGood(settings, datetime.fromtimestamp(kept.stat().st_mtime, UTC))
    except (OSError, ValueError, TypeError, KeyError, ValidationError):
        return None


def _without_literals(data: Mapping[str, Any]) -> dict[str, Any]:
    """Hide literal secrets in the options of adapters; elsewhere a file with a literal secret cannot be used."""
    connections = data.get("connections")
    if not isinstance(connections, dict):
        return dict(data)
    hidden = {
        name: one | {"options": redact_options(one["options"])} if isinstance(one, dict) and "options" in one else one
        for name, one in connections.items()
    }
    return {**data, "connections": hidden}


def _resolvable(data: Mapping[str, Any], context: FromFile) -> dict[str, Any]:
    """Replace the secrets that cannot be read. Without the store's own nothing can be shown, so that one stays."""
    return {key: one if key == "store" else _replaced(one, context) for key, one in data.items()}


def _replaced(value: Any, context: FromFile) -> Any:
    if is_reference(value):
        try:
            resolve_reference(value, context)
        except ValueError:
            return _UNKNOWN
        return value
    if isinstance(value, dict):
        return {key: _replaced(one, context) for key, one in value.items()}
    return [_replaced(one, context) for one in value] if isinstance(value, list) else value

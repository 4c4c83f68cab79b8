"""Writes the options that a response calls for as TOML, at most 80 columns wide. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from config.problems import in_toml
from crm_adapters.rest.explore import Understood

WIDTH = 80


def toml_snippet(found: Understood, name: str, auth: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """Return a connection for the configuration file. Guesses have a comment."""
    return "\n".join(_lines(found, name, auth, headers)) + "\n"


def _lines(found: Understood, name: str, auth: Mapping[str, Any], headers: Mapping[str, str]) -> Iterator[str]:
    options = f"connections.{name}.options"
    yield from (f"[connections.{name}]", 'adapter = "rest"', 'account = "main"', 'schedule = "15m"')
    yield from ("", f"[{options}]", f"url = {in_toml(found.url)}", f"path = {in_toml(found.path)}")
    if found.records:
        yield f"records = {in_toml(found.records)}"
    yield f"id = {in_toml(found.id)}"
    if found.page_size is not None:
        yield f"page_size = {found.page_size}"
    if found.omits:
        yield from _comment(
            f"Some records lack {', '.join(found.omits[:3])}. If the API leaves out empty fields, add:",
            then="omits_empty = true",
        )
    if found.deleted:
        yield from _comment(
            "If this marks deleted records, add:", then=f"deleted = {{ field = {in_toml(found.deleted)} }}"
        )
    if found.since is None and found.changed:
        form = "" if found.changed_format == "iso" else f', format = "{found.changed_format}"'
        yield from _comment(
            "Every run reads every record. If the API can be asked for changes, look up the parameter and add:",
            then=f'since = {{ parameter = "updated_since", field = {in_toml(found.changed)}{form} }}',
        )
    for doubt in found.doubts:
        yield from _comment(f"Look up {doubt}.")
    tables = {
        "auth": auth,
        "paging": found.paging,
        "since": found.since or {},
        "params": found.params,
        "headers": headers,
    }
    for key, values in tables.items():
        if values and values != {"kind": "none"}:
            yield from _table(f"{options}.{key}", values)
    if found.columns:
        yield from _table(f"connections.{name}.fields", {role: list(names) for role, names in found.columns.items()})


def _table(name: str, values: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", f"[{name}]")
    for key, value in values.items():
        bare = key if key.replace("_", "").isalnum() and key.isascii() else in_toml(key)
        yield f"{bare} = {in_toml(value)}"


def _comment(text: str, *, then: str = "") -> Iterator[str]:
    yield from (f"# {line}" for line in textwrap.wrap(text, WIDTH - 2, break_long_words=False))
    if then:
        yield f"# {then}"

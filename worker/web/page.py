"""``/docs``: the OpenAPI description as one page that needs nothing from anywhere else, not even a script."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import orjson
from fastapi import Response

STYLE = files("worker.web").joinpath("page.css").read_text("utf-8")
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def response(schema: dict[str, Any]) -> Response:
    """The page for an OpenAPI description."""
    headers = {"Content-Security-Policy": POLICY}
    return Response(render(schema), headers=headers, media_type="text/html; charset=utf-8")


def render(schema: dict[str, Any]) -> str:
    """The page as HTML."""
    info = schema["info"]
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(info['title'])}: HTTP API</title><style>{STYLE}</style><main>",
        f"<h1>{_text(info['title'])}</h1>",
        f"<p>{_prose(info['description'])}</p>",
        '<p class="soft">For programs: <a href="/openapi.json">openapi.json</a></p>',
    ]
    tag = None
    for path, method, operation in _operations(schema):
        if (operation.get("tags") or [""])[0] != tag:
            tag = (operation.get("tags") or [""])[0]
            parts.append(f"<h2>{_text(tag)}</h2>")
        parts.append(_operation(schema, path, method, operation))
    return "".join(parts) + "</main></html>"


def _operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _operation(schema: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> str:
    first, _, rest = operation.get("description", "").partition("\n")
    rows = [
        (one["name"], one["in"], one.get("required", False), one.get("description", ""), one["schema"])
        for one in operation.get("parameters", [])
    ]
    body = _resolve(
        schema, operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    )
    required = body.get("required", [])
    rows += [
        (name, "body", name in required, field.get("description", ""), field)
        for name, field in body.get("properties", {}).items()
    ]
    table = "".join(_row(*row) for row in rows)
    answers = "".join(
        f"<tr><td><code>{_text(status)}</code></td><td>{_text(one['description'])}</td></tr>"
        for status, one in operation["responses"].items()
    )
    heads = "<tr><th>name</th><th>in</th><th>what</th></tr>"
    title = f"<b>{method.upper()}</b> <code>{_text(path)}</code> <span class='soft'>{_prose(first)}</span>"
    parameters = f"<table>{heads}{table}</table>" if rows else ""
    return (
        f"<details><summary>{title}</summary><div><p>{_prose(rest.strip())}</p>{parameters}"
        f"{_example(method, path, body)}<table><tr><th>answer</th><th></th></tr>{answers}</table></div></details>"
    )


def _row(name: str, where: str, required: bool, description: str, field: dict[str, Any]) -> str:
    words = " ".join(filter(None, ["Required." if required else "", description, _kind(field)]))
    return f"<tr><td><code>{_text(name)}</code></td><td class='soft'>{_text(where)}</td><td>{_prose(words)}</td></tr>"


def _kind(field: dict[str, Any]) -> str:
    one = next((each for each in field.get("anyOf", []) if each.get("type") != "null"), field)
    if "enum" in one:
        return f"One of {', '.join(f'`{value}`' for value in one['enum'])}."
    examples = field.get("examples") or []
    return f"Such as `{orjson.dumps(examples[0]).decode()}`." if examples else ""


def _example(method: str, path: str, body: dict[str, Any]) -> str:
    """A request that works once the key is put in."""
    lines = [f"curl -X {method.upper()} http://127.0.0.1:8080{path} -H 'Authorization: Bearer vtk_...'"]
    fields = body.get("properties", {})
    chosen = {
        name: field["examples"][0]
        for name, field in fields.items()
        if field.get("examples") and (name in body.get("required", []) or name in ("message", "reason", "carrier"))
    }
    if chosen:
        lines.append(f"  --json '{orjson.dumps(chosen).decode()}'")
    shown = " \\\n".join(lines)
    return f"<pre>{_text(shown)}</pre>"


def _resolve(schema: dict[str, Any], part: dict[str, Any] | None) -> dict[str, Any]:
    if not part:
        return {}
    name = part.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = schema["components"]["schemas"][name] if name else part
    return found


def _prose(text: str) -> str:
    """Text with `code` in it."""
    pieces = _text(text).split("`")
    return "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))


def _text(value: object) -> str:
    return html.escape(str(value))

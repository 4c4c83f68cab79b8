"""``/docs``: the OpenAPI description as one self-contained page without scripts."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import orjson
from fastapi import Response

STYLE = files("worker.web").joinpath("page.css").read_text("utf-8")
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def docs_response(schema: dict[str, Any]) -> Response:
    """Return the page for an OpenAPI description."""
    headers = {"Content-Security-Policy": POLICY}
    return Response(render_docs(schema), headers=headers, media_type="text/html; charset=utf-8")


def render_docs(schema: dict[str, Any]) -> str:
    """Render the page as HTML."""
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
    body = _resolve(schema, _json(operation.get("requestBody", {})))
    required = body.get("required", [])
    rows += [
        (name, "body", name in required, field.get("description", ""), field)
        for name, field in body.get("properties", {}).items()
    ]
    title = f"<b>{method.upper()}</b> <code>{_text(path)}</code> <span class='soft'>{_prose(first)}</span>"
    details = f"<p>{_prose(rest.strip())}</p>" if rest.strip() else ""
    scopes = [scope for one in operation.get("security", []) for given in one.values() for scope in given]
    if scopes:
        needed = ", ".join(f"`{one}`" for one in scopes)
        details += f"<p class='soft'>{_prose(f'Needs a key with the scope {needed}.')}</p>"
    table = "".join(_row(schema, *row) for row in rows)
    parameters = f"<table><tr><th>name</th><th>in</th><th>what</th></tr>{table}</table>" if rows else ""
    inside = details + parameters + _example(schema, method, path, operation) + _answers(schema, operation)
    return f"<details><summary>{title}</summary><div>{inside}</div></details>"


def _answers(schema: dict[str, Any], operation: dict[str, Any]) -> str:
    """Render the fields of a successful response, then each status."""
    named = schema["components"].get("responses", {})
    answers = [
        (status, named.get(one.get("$ref", "").rpartition("/")[2], one))
        for status, one in operation["responses"].items()
    ]
    good = next((_resolve(schema, _json(one)) for status, one in answers if status.startswith("2")), {})
    fields = [
        (name, _about(schema, field.get("description", ""), field))
        for name, field in good.get("properties", {}).items()
    ]
    # FastAPI's description of 200 says nothing.
    statuses = [
        (status, good.get("description", "") if status == "200" else one["description"]) for status, one in answers
    ]
    return _table("in the response", fields) + _table("status", statuses)


def _table(head: str, rows: list[tuple[str, str]]) -> str:
    body = "".join(f"<tr><td><code>{_text(name)}</code></td><td>{_prose(text)}</td></tr>" for name, text in rows)
    return f"<table><tr><th>{head}</th><th></th></tr>{body}</table>"


def _row(schema: dict[str, Any], name: str, where: str, required: bool, description: str, field: dict[str, Any]) -> str:
    text = " ".join(filter(None, ["Required." if required else "", _about(schema, description, field)]))
    return f"<tr><td><code>{_text(name)}</code></td><td class='soft'>{_text(where)}</td><td>{_prose(text)}</td></tr>"


def _about(schema: dict[str, Any], description: str, field: dict[str, Any]) -> str:
    """Return the description, the allowed values, the default and an example."""
    one = _resolve(schema, next((each for each in field.get("anyOf", []) if each.get("type") != "null"), field))
    sentences = [description]
    if "enum" in one:
        sentences.append(f"One of {', '.join(f'`{value}`' for value in one['enum'])}.")
    if "maximum" in one:
        sentences.append(f"{one.get('minimum', 0)} to {one['maximum']}.")
    if field.get("default") not in (None, ""):
        sentences.append(f"Default: `{orjson.dumps(field['default']).decode()}`.")
    example = next((each for each in field.get("examples", []) if each not in (None, "")), None)
    if example is not None:
        sentences.append(f"Example: `{orjson.dumps(example).decode()}`.")
    if one.get("type") == "array" and "$ref" in one.get("items", {}):
        sentences.append(
            f"Each with {', '.join(f'`{name}`' for name in _resolve(schema, one['items'])['properties'])}."
        )
    return " ".join(filter(None, sentences))


def _example(schema: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    """Render a request that works once the key is filled in."""
    for one in operation.get("parameters", []):
        if one["in"] == "path":
            path = path.replace(f"{{{one['name']}}}", str(one["schema"]["examples"][0]))
    asked = [
        f"{one['name']}=..." for one in operation.get("parameters", []) if one["in"] == "query" and one["required"]
    ]
    base = next((one["url"].rstrip("/") for one in schema.get("servers", [])), "http://127.0.0.1:8080")
    key = " \\\n  -H 'Authorization: Bearer vtk_...'" if operation.get("security") else ""
    url = f"'{base}{path}?{'&'.join(asked)}'" if asked else base + path
    lines = [f"curl {'' if method == 'get' else f'-X {method.upper()} '}{url}{key}"]
    given = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
    if given is not None:
        lines.append(f"  --json '{orjson.dumps(given).decode()}'")
    command = " \\\n".join(lines)
    return f"<pre>{_text(command)}</pre>"


def _json(part: dict[str, Any]) -> dict[str, Any] | None:
    found: dict[str, Any] | None = part.get("content", {}).get("application/json", {}).get("schema")
    return found


def _resolve(schema: dict[str, Any], part: dict[str, Any] | None) -> dict[str, Any]:
    if not part:
        return {}
    name = part.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = schema["components"]["schemas"][name] if name else part
    return found


def _prose(text: str) -> str:
    """Render text that contains `code`. A line continues the one before, unless it begins a paragraph or an item."""
    pieces = _text(re.sub(r"(?<!\n)\n(?![\n-])", " ", text)).split("`")
    return "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))


def _text(value: object) -> str:
    return html.escape(str(value))

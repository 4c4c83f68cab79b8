"""Examples of the OpenAPI description: one request and one answer for each route, made from those of the fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

AT = "2027-03-01T14:30:00Z"
_PLAIN: Mapping[str, Any] = {"boolean": False, "integer": 0, "number": 0, "string": "", "object": {}, "array": []}


def add_examples(document: dict[str, Any]) -> None:
    """Give each request body and each good answer of an OpenAPI document an example. It changes the document."""
    schemas = document["components"]["schemas"]
    for methods in document["paths"].values():
        for operation in methods.values():
            for content in _json_contents(operation.get("requestBody", {})):
                content["example"] = example(content["schema"], schemas, request=True)
            for status, answer in operation["responses"].items():
                if status.startswith("2"):
                    for content in _json_contents(answer):
                        content["example"] = example(content["schema"], schemas)


def example(schema: Mapping[str, Any], schemas: Mapping[str, Any], *, request: bool = False) -> Any:
    """Return an example of a schema: its own, or one that is made from those of its fields. Pure.

    Of a ``request`` without an example of its own, it has only the required fields.
    """
    if "$ref" in schema:
        return example(schemas[schema["$ref"].rpartition("/")[2]], schemas, request=request)
    if "examples" in schema:
        return schema["examples"][0]
    for fixed in ("const", "default"):
        if fixed in schema:
            return schema[fixed]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        variants = schema["anyOf"]
        return None if {"type": "null"} in variants else example(variants[0], schemas, request=request)
    if "properties" in schema:
        required = schema.get("required", [])
        return {
            name: example(field, schemas, request=request)
            for name, field in schema["properties"].items()
            if name in required or not request
        }
    if schema.get("format") == "date-time":
        return AT
    if "items" in schema:
        return [example(schema["items"], schemas, request=request)]
    return _PLAIN.get(schema.get("type", ""))


def _json_contents(part: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    found = part.get("content", {}).get("application/json")
    if found is not None:
        yield found

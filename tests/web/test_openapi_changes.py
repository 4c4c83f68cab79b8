"""What breaks callers: a table of documents before and after. One more case is one more row."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.openapi_changes import breaking_changes

STRING, INTEGER, NULL = {"type": "string"}, {"type": "integer"}, {"type": "null"}


def route(*, body: Any = None, answer: Any = None, parameters: Any = (), security: Any = None, **more: Any) -> Any:
    """A document with the route POST /x."""
    operation: dict[str, Any] = {"responses": {"200": {"description": ""}}, "parameters": list(parameters)} | more
    if body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": body}}, "required": True}
    if answer is not None:
        operation["responses"]["200"]["content"] = {"application/json": {"schema": answer}}
    if security is not None:
        operation["security"] = security
    return {"paths": {"/x": {"post": operation}}}


def fields(*required: str, closed: bool = False, **properties: Any) -> dict[str, Any]:
    found = {"type": "object", "properties": properties, "required": list(required)}
    return found | ({"additionalProperties": False} if closed else {})


def parameter(schema: Any = STRING, *, required: bool = False, name: str = "q") -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def values(*names: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(names)}


def tree(leaf: Any) -> dict[str, Any]:
    """A document whose body refers to itself."""
    node = fields(leaf=leaf, below={"$ref": "#/components/schemas/Node"})
    return route(body={"$ref": "#/components/schemas/Node"}) | {"components": {"schemas": {"Node": node}}}


GONE: dict[str, Any] = {"paths": {}}
KEY, READ, WRITE = ([{"key": scopes}] for scopes in ([], ["read"], ["write"]))
X = "POST /x"
CASES: list[tuple[str, Any, Any, list[str]]] = [
    # what changes, before, after, the sentences (none: it breaks nobody)
    ("nothing", route(body=fields(a=STRING)), route(body=fields(a=STRING)), []),
    ("a route more", GONE, route(), []),
    ("a route less", route(), GONE, [f"{X} is gone"]),
    (
        "a method less",
        {"paths": {"/x": {**route()["paths"]["/x"], "get": {"responses": {}}}}},
        route(),
        ["GET /x is gone"],
    ),
    ("a description", route(summary="a"), route(summary="b"), []),
    # parameters
    ("an optional parameter more", route(), route(parameters=[parameter()]), []),
    (
        "a required parameter more",
        route(),
        route(parameters=[parameter(required=True)]),
        [f"{X}, the parameter q is new and required"],
    ),
    ("a parameter less", route(parameters=[parameter()]), route(), [f"{X}, the parameter q is gone"]),
    (
        "a parameter required",
        route(parameters=[parameter()]),
        route(parameters=[parameter(required=True)]),
        [f"{X}, the parameter q is required now"],
    ),
    (
        "a parameter of another type",
        route(parameters=[parameter(STRING)]),
        route(parameters=[parameter(INTEGER)]),
        [f"{X}, the parameter q may not be string any more"],
    ),
    (
        "a lower limit",
        route(parameters=[parameter(INTEGER | {"maximum": 200})]),
        route(parameters=[parameter(INTEGER | {"maximum": 100})]),
        [f"{X}, the parameter q has a lower maximum: 100"],
    ),
    (
        "a higher limit",
        route(parameters=[parameter(INTEGER | {"maximum": 100})]),
        route(parameters=[parameter(INTEGER | {"maximum": 200})]),
        [],
    ),
    # the body
    ("an optional field more", route(body=fields()), route(body=fields(a=STRING)), []),
    (
        "a required field more",
        route(body=fields()),
        route(body=fields("a", a=STRING)),
        [f"{X}, the body, the field a is new and required"],
    ),
    (
        "a field required",
        route(body=fields(a=STRING)),
        route(body=fields("a", a=STRING)),
        [f"{X}, the body, the field a is required now"],
    ),
    ("a field optional", route(body=fields("a", a=STRING)), route(body=fields(a=STRING)), []),
    (
        "a field that is refused now",
        route(body=fields(a=STRING, closed=True)),
        route(body=fields(closed=True)),
        [f"{X}, the body, the field a is gone"],
    ),
    ("a field that is ignored now", route(body=fields(a=STRING)), route(body=fields()), []),
    (
        "unknown fields refused",
        route(body=fields()),
        route(body=fields(closed=True)),
        [f"{X}, the body takes no other fields any more"],
    ),
    ("a wider type", route(body=fields(a=STRING)), route(body=fields(a={"anyOf": [STRING, NULL]})), []),
    (
        "a narrower type",
        route(body=fields(a={"anyOf": [STRING, NULL]})),
        route(body=fields(a=STRING)),
        [f"{X}, the body, the field a may not be null any more"],
    ),
    ("an integer that may be any number", route(body=INTEGER), route(body={"type": "number"}), []),
    (
        "a number that must be whole",
        route(body={"type": "number"}),
        route(body=INTEGER),
        [f"{X}, the body may not be number any more"],
    ),
    ("a value more", route(body=values("a")), route(body=values("a", "b")), []),
    ("a value less", route(body=values("a", "b")), route(body=values("a")), [f'{X}, the body may not be "b" any more']),
    ("only some values", route(body=STRING), route(body=values("a")), [f"{X}, the body must be one of a now"]),
    ("any value", route(body=values("a")), route(body=STRING), []),
    (
        "a pattern",
        route(body=STRING),
        route(body=STRING | {"pattern": "^a"}),
        [f"{X}, the body has another pattern: ^a"],
    ),
    ("no pattern", route(body=STRING | {"pattern": "^a"}), route(body=STRING), []),
    (
        "shorter texts",
        route(body=STRING | {"maxLength": 9}),
        route(body=STRING | {"maxLength": 5}),
        [f"{X}, the body has a lower maxLength: 5"],
    ),
    (
        "narrower items",
        route(body={"type": "array", "items": {"anyOf": [STRING, INTEGER]}}),
        route(body={"type": "array", "items": STRING}),
        [f"{X}, the body, each item may not be integer any more"],
    ),
    ("a body that is new", route(), route(body=STRING), [f"{X}, the body is new and required"]),
    ("no body", route(body=STRING), route(), [f"{X}, the body is not taken any more"]),
    (
        "deep inside what refers to itself",
        tree(STRING),
        tree(INTEGER),
        [f"{X}, the body, the field leaf may not be string any more"],
    ),
    # answers
    ("a field of the answer more", route(answer=fields()), route(answer=fields("a", a=STRING)), []),
    (
        "a field of the answer less",
        route(answer=fields("a", a=STRING)),
        route(answer=fields()),
        [f"{X}, the answer 200, the field a is gone"],
    ),
    (
        "a field of the answer of another type",
        route(answer=fields(a=STRING)),
        route(answer=fields(a=INTEGER)),
        [f"{X}, the answer 200, the field a may now be integer"],
    ),
    (
        "a field of the answer that may be null",
        route(answer=fields("a", a=STRING)),
        route(answer=fields("a", a={"anyOf": [STRING, NULL]})),
        [f"{X}, the answer 200, the field a may now be null"],
    ),
    (
        "a field of the answer that is never null",
        route(answer=fields(a={"anyOf": [STRING, NULL]})),
        route(answer=fields(a=STRING)),
        [],
    ),
    (
        "a field of the answer that may be missing",
        route(answer=fields("a", a=STRING)),
        route(answer=fields(a=STRING)),
        [f"{X}, the answer 200, the field a may be missing now"],
    ),
    ("a value of the answer more", route(answer=values("a")), route(answer=values("a", "b")), []),
    (
        "a status less",
        route(responses={"200": {}, "409": {}}),
        route(responses={"200": {}}),
        [f"{X} does not answer 409 any more"],
    ),
    ("a status more", route(responses={"200": {}}), route(responses={"200": {}, "409": {}}), []),
    ("no JSON any more", route(answer=STRING), route(), [f"{X}, the answer 200 is not application/json any more"]),
    # keys
    ("a key that was not needed", route(), route(security=KEY), [f"{X} needs more of a key than before: key"]),
    ("a key that is not needed any more", route(security=KEY), route(), []),
    (
        "another scope",
        route(security=READ),
        route(security=WRITE),
        [f"{X} needs more of a key than before: write"],
    ),
    (
        "one of two keys",
        route(security=[*READ, *WRITE]),
        route(security=READ),
        [f"{X} needs more of a key than before: read"],
    ),
    ("one of two scopes", route(security=READ), route(security=[*READ, *WRITE]), []),
    (
        "a scope more",
        route(security=READ),
        route(security=[{"key": ["read", "write"]}]),
        [f"{X} needs more of a key than before: read, write"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("what", "before", "after", "sentences"), CASES, ids=[case[0] for case in CASES])
def test_what_breaks_callers(what: str, before: Any, after: Any, sentences: list[str]) -> None:
    assert breaking_changes(before, after) == sentences

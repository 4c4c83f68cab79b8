"""The OpenAPI description: adds problems, headers and names to what FastAPI reads from the routes."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from worker.web.examples import add_examples
from worker.web.problems import MEDIA_TYPE, ProblemBody

_DESCRIPTIONS = {
    400: "The body is not JSON.",
    401: "The request has no valid key.",
    403: "The key lacks the scope, or may not use the account.",
    404: "It does not exist.",
    408: "The body arrived too slowly.",
    409: "It cannot be done in the current state.",
    413: "The body is too large.",
    415: "The body is not `application/json`.",
    422: "Something in the request is wrong; `errors` says what.",
    429: "Too many requests; `Retry-After` says when to try again.",
    500: "An error of this service; its log has the details.",
    503: "The store cannot be reached. Send it again with the same `Idempotency-Key`: it may have been stored.",
}
_CODES = {
    400: "not_json",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    408: "request_timeout",
    409: "too_late",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
    429: "too_many_requests",
    500: "internal_error",
    503: "unavailable",
}
_TAGS = [
    {"name": "messages", "description": "Texts to send, now or later, and their states."},
    {"name": "decisions", "description": "Decisions about texts: approve, cancel, retry, resolve."},
    {"name": "reviews", "description": "Replies that may mean STOP."},
    {"name": "connections", "description": "CRMs: their runs, rejected records, and a run at once."},
    {"name": "forwards", "description": "Events on their way to CRM records and services."},
    {"name": "incoming", "description": "Jobs and events that came in and were refused."},
    {"name": "status", "description": "What waits for a person."},
    {"name": "records", "description": "Texts that were sent elsewhere, put into their conversations."},
    {"name": "opt-outs", "description": "Numbers that must not be texted from any account."},
    {"name": "contacts", "description": "What is known about a number, and contacts that wait for a decision."},
    {"name": "people", "description": "A copy of all that is stored about a person, and its erasure."},
    {"name": "pauses", "description": "Connections that are not read, and triggers whose texts are held."},
    {"name": "health", "description": "For orchestrators; no key needed."},
]
_RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}

TAKEN: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "Committed to the store.",
        "headers": {
            "Location": {"description": "The message's address.", "schema": {"type": "string"}},
            "Idempotent-Replayed": {
                "description": "`true`: an earlier request created it.",
                "schema": {"type": "string", "enum": ["true"]},
            },
        },
    }
}


def problem_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems that a route can answer, including those of every route."""
    always = (401, 403, 408, 413, 422, 429, 500, 503)
    return {status: _problem(status) for status in sorted({*always, *statuses})}


def problem_answers_to_a_body(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems of a route that takes a JSON body."""
    return problem_answers(400, 415, *statuses)


def _problem(status: int) -> dict[str, Any]:
    example = {"type": f"/problems/{_CODES[status]}", "title": HTTPStatus(status).phrase, "status": status}
    schema = {
        "schema": {"$ref": "#/components/schemas/ProblemBody"},
        "example": example | {"detail": _DESCRIPTIONS[status]},
    }
    described: dict[str, Any] = {"description": _DESCRIPTIONS[status], "content": {MEDIA_TYPE: schema}}
    return described | ({"headers": _RETRY_AFTER} if status in (429, 503) else {})


def openapi(app: FastAPI, public_url: str | None) -> dict[str, Any]:
    """Return the description, which is generated once."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            tags=_TAGS,
            servers=[{"url": public_url}] if public_url is not None else None,
        )
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        body = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= body.pop("$defs", {}) | {"ProblemBody": body}
        for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own answers, which are never sent
            schemas.pop(name, None)
        add_examples(schema)
        _name_problems(schema)
        app.openapi_schema = schema
    return app.openapi_schema


def _name_problems(schema: dict[str, Any]) -> None:
    """Describe each problem once, under its code, instead of once for each route."""
    named = schema["components"].setdefault("responses", {})
    for methods in schema["paths"].values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                if MEDIA_TYPE in answer.get("content", {}):
                    code = _CODES[int(status)]
                    named[code] = answer
                    operation["responses"][status] = {"$ref": f"#/components/responses/{code}"}

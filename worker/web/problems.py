"""Errors as RFC 9457 problems: ``application/problem+json``, whose types docs/http.md explains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.core.shown import NotAsShown
from worker.inbox.intake import Overloaded
from worker.messages.request_problems import IdempotencyConflict, InvalidRequest, printable, read_errors
from worker.store.db import STORE_AWAY

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5

log = structlog.get_logger(__name__)


class ProblemDetail(BaseModel):
    """One thing that is wrong with a request. ``pointer``: a JSON pointer into its body, or the name of a parameter."""

    pointer: str = Field(examples=["/to"])
    detail: str = Field(examples=['to must be a phone number in E.164, such as "+14155552671", not "415"'])


class ProblemBody(BaseModel):
    """A problem as RFC 9457 defines it."""

    type: str = Field(examples=["/problems/invalid_request"])
    title: str = Field(examples=["Unprocessable Entity"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["the request cannot be done as it stands"])
    errors: list[ProblemDetail] | None = None


class Problem(Exception):
    """An error answer to a request. ``code`` is for programs, ``detail`` for people."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.errors, self.headers = errors, headers

    @property
    def title(self) -> str:
        """Return the name of the status."""
        return HTTPStatus(self.status).phrase

    @property
    def body(self) -> dict[str, Any]:
        """Return the problem as RFC 9457 writes it."""
        body: dict[str, Any] = {
            "type": f"/problems/{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [{"pointer": pointer, "detail": detail} for pointer, detail in self.errors]
        return body

    def response(self) -> Response:
        """Return the answer."""
        headers = {"Cache-Control": "no-store", **(self.headers or {})}
        return Response(orjson.dumps(self.body), self.status, headers, MEDIA_TYPE)


class UnexpectedErrors:
    """An ASGI middleware that turns unexpected exceptions into problems and logs each once."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on the request. Raise only if a response was started and cannot be completed."""
        began = False

        async def sending(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            if scope["type"] != "http" or began:
                raise
            log.exception("a request failed", error=type(error).__name__)
            detail = "this is an error of vtsync; the log of `vtsync web` has it under this id"
            await Problem(500, "internal_error", detail).response()(scope, receive, send)


def install_error_handlers(app: FastAPI) -> None:
    """Turn every error of ``app`` into a problem that reveals no internals."""
    app.add_middleware(UnexpectedErrors)

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        found = error.errors()
        if any(one["type"] == "json_invalid" for one in found):
            return Problem(400, "not_json", "the body is not JSON").response()
        return invalid_request(_field_problems(request, found)).response()

    @app.exception_handler(InvalidRequest)
    async def refused(_: Request, error: InvalidRequest) -> Response:
        return refused_problem(error).response()

    @app.exception_handler(IdempotencyConflict)
    async def conflict(_: Request, error: IdempotencyConflict) -> Response:
        return conflict_problem(error).response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        codes = {400: "not_json", 404: "not_found", 405: "method_not_allowed"}
        details = {
            400: "The body is not JSON.",  # too deep, or not UTF-8
            404: "There is nothing at this address.",
            405: "This address does not support this method.",
        }
        code, detail = codes.get(error.status_code, "http_error"), details.get(error.status_code, str(error.detail))
        headers = dict(error.headers or {})
        described = app.openapi()["paths"].get(getattr(request.scope.get("route"), "path", None))
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and described:
            headers["Allow"] = ", ".join(
                method.upper() for method in described
            )  # Starlette lists only those of one route
        return Problem(error.status_code, code, detail, headers=headers).response()

    async def away(_: Request, error: Exception) -> Response:
        log.warning("a request was refused: the store or the inbox is not available", error=type(error).__name__)
        return unavailable_problem().response()

    for kind in (*STORE_AWAY, Overloaded):
        app.add_exception_handler(kind, away)


def invalid_request(errors: Iterable[tuple[str, str]]) -> Problem:
    """Return the problem for a request that is wrong at these (pointer, detail)."""
    return Problem(422, "invalid_request", "the request cannot be done as it stands", errors=list(errors))


def not_as_shown(error: NotAsShown, listed_by: str) -> Problem:
    """Return the problem for a decision about more than ``listed_by``, a request, has shown."""
    return Problem(409, "not_as_shown", f"{error}; nothing was done. Look at `{listed_by}` again")


def refused_problem(error: InvalidRequest, *, of_batch: bool = False) -> Problem:
    """Return the problem for a job that cannot be done as it stands. In a batch, all its fields are in the body."""
    return invalid_request((_body_pointer(one.path, in_header=not of_batch), one.sentence) for one in error.problems)


def conflict_problem(error: IdempotencyConflict) -> Problem:
    """Return the problem for a key that was used for another request."""
    detail = (
        f"this Idempotency-Key was used before, for message {error.message_id} with other contents; nothing was"
        " enqueued. Use a new key for a new message, or repeat the first request unchanged"
    )
    return Problem(422, "idempotency_conflict", detail)


def unavailable_problem() -> Problem:
    """Return the problem for a store that cannot be used."""
    detail = (
        "the store cannot be used now; send the request again with the same Idempotency-Key, because in rare"
        " cases this request was stored"
    )
    return Problem(503, "unavailable", detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def _field_problems(request: Request, errors: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Translate FastAPI's errors, whose locations begin with the part of the request."""
    bodies = request.scope["route"].dependant.body_params
    known = bodies[0].field_info.annotation.model_fields if bodies else ()
    problems = read_errors(({**one, "loc": one["loc"][1:]} for one in errors), known)
    return [
        (_body_pointer(problem.path) if part == "body" else ".".join(map(str, problem.path)), problem.sentence)
        for part, problem in zip((one["loc"][0] for one in errors), problems, strict=True)
    ]


def _body_pointer(path: Sequence[str | int], *, in_header: bool = True) -> str:
    if in_header and path == ("idempotency_key",):
        return "/Idempotency-Key"  # the field is a header here
    return printable("/" + "/".join(str(step).replace("~", "~0").replace("/", "~1") for step in path))

"""Errors as RFC 9457 has them: ``application/problem+json``, with a type that the documentation explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.inbox.intake import Overloaded
from worker.messages.requests import IdempotencyConflict, InvalidRequest
from worker.store.db import STORE_AWAY

MEDIA_TYPE = "application/problem+json"
COME_AGAIN_SECONDS = 5

log = structlog.get_logger(__name__)


class ProblemDetail(BaseModel):
    """One thing that is wrong with a request. ``pointer`` is a JSON pointer into its body, or a parameter's name."""

    pointer: str = Field(examples=["/to"])
    detail: str = Field(examples=['must be a phone number in E.164, such as "+14155552671"'])


class ProblemBody(BaseModel):
    """RFC 9457."""

    type: str = Field(examples=["/problems/invalid_request"])
    title: str = Field(examples=["Unprocessable Entity"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["the request cannot be done as it stands"])
    errors: list[ProblemDetail] | None = None


class Problem(Exception):
    """Ends a request with a problem. ``code`` names it for programs, ``detail`` says it to a person."""

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
        """The status in words."""
        return HTTPStatus(self.status).phrase

    def response(self) -> Response:
        """As it goes on the wire."""
        body: dict[str, Any] = {
            "type": f"/problems/{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [{"pointer": pointer, "detail": detail} for pointer, detail in self.errors]
        headers = {"Cache-Control": "no-store", **(self.headers or {})}
        return Response(orjson.dumps(body), self.status, headers, MEDIA_TYPE)


class Defects:
    """An ASGI middleware. What nobody foresaw ends as a problem, too, and once in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. Raises only where an answer has begun that cannot be ended well."""
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
            words = "this is our fault; it is in the log of `vtsync web`, with this answer's X-Request-ID"
            await Problem(500, "internal_error", words).response()(scope, receive, send)


def install(app: FastAPI) -> None:
    """Have every error of ``app`` end as a problem; none shows what is inside."""
    app.add_middleware(Defects)

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        # Never the value that was given: it may be a phone number or what somebody wrote.
        errors = [(_pointer(one["loc"]), str(one["msg"])) for one in error.errors()]
        unreadable = any(one["type"] == "json_invalid" for one in error.errors())
        if unreadable:
            return Problem(400, "not_json", "the body is not JSON").response()
        return Problem(422, "invalid_request", "the request cannot be done as it stands", errors=errors).response()

    @app.exception_handler(InvalidRequest)
    async def refused(_: Request, error: InvalidRequest) -> Response:
        errors = [(f"/{_field(one)}", one) for one in error.problems]
        return Problem(422, "invalid_request", "the request cannot be done as it stands", errors=errors).response()

    @app.exception_handler(IdempotencyConflict)
    async def conflict(_: Request, error: IdempotencyConflict) -> Response:
        words = (
            f"this Idempotency-Key was used before, for message {error.message_id} with other contents; nothing was"
            " enqueued. Use a new key for a new message, or repeat the first request unchanged"
        )
        return Problem(422, "idempotency_conflict", words).response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        codes = {400: "not_json", 404: "not_found", 405: "method_not_allowed"}
        words = {
            400: "The body is not JSON.",  # too deep, or not UTF-8
            404: "There is nothing here.",
            405: "This address does not take that method.",
        }
        code, detail = codes.get(error.status_code, "http_error"), words.get(error.status_code, str(error.detail))
        headers = dict(error.headers or {})
        described = app.openapi()["paths"].get(getattr(request.scope.get("route"), "path", None))
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and described:
            headers["Allow"] = ", ".join(method.upper() for method in described)  # Starlette names one route's alone
        return Problem(error.status_code, code, detail, headers=headers).response()

    async def away(_: Request, error: Exception) -> Response:
        log.warning("the store or the inbox cannot take a request", error=type(error).__name__)
        words = (
            "the store cannot be reached just now; send the request again, with the same Idempotency-Key: in rare cases"
            " it was kept all the same"
        )
        headers = {"Retry-After": str(COME_AGAIN_SECONDS)}
        return Problem(503, "unavailable", words, headers=headers).response()

    for kind in (*STORE_AWAY, Overloaded):
        app.add_exception_handler(kind, away)


def _pointer(location: Sequence[Any]) -> str:
    where, *path = location
    return "/" + "/".join(map(str, path)) if where == "body" else ".".join(map(str, path)) or str(where)


def _field(sentence: str) -> str:
    """The field that a sentence of ours begins with."""
    word = sentence.split(" ", 1)[0]
    return {"idempotency_key": "Idempotency-Key", "the": "account"}.get(word, word)

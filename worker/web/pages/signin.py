"""Signing in and out, and a person's own settings: password, second factor, sessions."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.web import audit
from worker.web.context import WebContext
from worker.web.pages.gate import Form, Gate
from worker.web.pages.render import page
from worker.web.sessions import LONGEST, Session, end_session, has_users, sessions_of, start_session
from worker.web.users import (
    SignInRefused,
    UserRefused,
    find_user,
    new_totp_secret,
    seal_totp,
    set_password,
    set_totp,
    sign_in,
    totp_link,
    totp_step,
)


def routes(context: WebContext, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/ui", include_in_schema=False)
    _sign_in(router, context, gate)
    _settings(router, context, gate)
    _second_factor(router, context, gate)
    return router


def _sign_in(router: APIRouter, context: WebContext, gate: Gate) -> None:
    @router.get("/sign-in")
    def form(request: Request) -> Response:
        if gate.of(request) is not None:
            return RedirectResponse("/ui", 303)
        with reading(context.runtime.engine) as connection:
            first = not has_users(connection)
        return page(
            "sign_in.html", None, first=first, following=_inside(request.query_params.get("next", "")), error=""
        )

    @router.post("/sign-in")
    def enter(request: Request, fields: Form) -> Response:
        gate.require_own_page(request)
        runtime, following, address = context.runtime, _inside(fields.get("next", "")), gate.address(request)
        name = fields.get("name", "").strip()
        try:
            person = sign_in(runtime, name, fields.get("password", ""), fields.get("code", ""), address)
        except SignInRefused as error:
            if error.tried:
                with writing(runtime.engine) as connection:
                    # Who mistakes the field for the other one types a password here.
                    known = find_user(connection, name) is not None
                    who = name if known else "unknown name"
                    audit.note(connection, who, "sign_in_refused", now=utcnow(), address=address)
            status = 403 if error.tried else 429
            return page("sign_in.html", None, first=False, following=following, error=str(error), status=status)
        now, before = utcnow(), gate.of(request)
        with writing(runtime.engine) as connection:
            if before is not None:
                end_session(connection, before.id, before.person.name)
            browser = request.headers.get("user-agent", "")
            token = start_session(connection, person.name, address=address, browser=browser, now=now)
            audit.note(connection, person.name, "signed_in", now=now, address=address)
        answer = RedirectResponse(following or "/ui", 303)
        seconds = int(LONGEST.total_seconds())
        answer.set_cookie(
            gate.cookie(request),
            token,
            max_age=seconds,
            path="/",
            httponly=True,
            samesite="lax",
            secure=gate.is_secure(request),
        )
        return answer

    @router.post("/sign-out")
    def leave(request: Request, session: Session = Depends(gate.writes("viewer"))) -> Response:  # noqa: B008
        with writing(context.runtime.engine) as connection:
            end_session(connection, session.id, session.person.name)
        gate.note(request, session, "signed_out")
        answer = RedirectResponse("/ui/sign-in", 303)
        answer.delete_cookie(gate.cookie(request), path="/", secure=gate.is_secure(request))
        answer.headers["Clear-Site-Data"] = '"cache"'  # for the button Back
        return answer


def _settings(router: APIRouter, context: WebContext, gate: Gate) -> None:
    reader, writer = Depends(gate.reads()), Depends(gate.writes("viewer"))

    @router.get("/me")
    def me(session: Session = reader) -> Response:
        return _show_me(context, session)

    @router.post("/me/password")
    def password(request: Request, fields: Form, session: Session = writer) -> Response:
        runtime, name = context.runtime, session.person.name
        try:
            sign_in(runtime, name, fields.get("old", ""), fields.get("code", ""), gate.address(request))
            with writing(runtime.engine) as connection:
                set_password(connection, name, _same(fields.get("new", ""), fields.get("again", "")))
        except (SignInRefused, UserRefused) as error:
            return _show_me(context, session, error=str(error))
        gate.note(request, session, "changed_password")
        return RedirectResponse("/ui/sign-in", 303)

    @router.post("/me/sessions/end")
    def end(request: Request, fields: Form, session: Session = writer) -> Response:
        with writing(context.runtime.engine) as connection:
            end_session(connection, fields.get("id", ""), session.person.name)
        gate.note(request, session, "ended_session")
        return RedirectResponse("/ui/me", 303)


def _second_factor(router: APIRouter, context: WebContext, gate: Gate) -> None:
    writer = Depends(gate.writes("viewer"))

    @router.post("/me/second-factor")
    def second_factor(request: Request, fields: Form, session: Session = writer) -> Response:
        runtime, name = context.runtime, session.person.name
        secret = fields.get("secret", "")
        if session.person.has_totp:  # a session alone must not be enough to replace it
            return _show_me(context, session, error="there is a second factor already; remove it first")
        try:
            if not secret:
                seal_totp(runtime, "")  # without a key, say so before anything is scanned
                secret = new_totp_secret()
                return _show_me(context, session, secret=secret, link=totp_link(name, secret))
            if not totp_step(secret, fields.get("code", ""), utcnow()):
                return _show_me(
                    context,
                    session,
                    secret=secret,
                    link=totp_link(name, secret),
                    error="this code is wrong; try the next one",
                )
            with writing(runtime.engine) as connection:
                set_totp(connection, name, seal_totp(runtime, secret))
        except UserRefused as error:
            return _show_me(context, session, error=str(error))
        except ValueError:
            return _show_me(context, session, error="this secret is not valid")
        gate.note(request, session, "added_second_factor")
        return RedirectResponse("/ui/me", 303)

    @router.post("/me/second-factor/remove")
    def without(request: Request, fields: Form, session: Session = writer) -> Response:
        runtime, name = context.runtime, session.person.name
        try:
            sign_in(runtime, name, fields.get("old", ""), fields.get("code", ""), gate.address(request))
        except SignInRefused as error:
            return _show_me(context, session, error=str(error))
        with writing(runtime.engine) as connection:
            set_totp(connection, name, None)
        gate.note(request, session, "removed_second_factor")
        return RedirectResponse("/ui/me", 303)


def _show_me(context: WebContext, session: Session, error: str = "", secret: str = "", link: str = "") -> Response:
    with reading(context.runtime.engine) as connection:
        sessions = sessions_of(connection, session.person.name)
    values = {"sessions": sessions, "error": error, "secret": secret, "link": link}
    return page("me.html", session, values, status=422 if error else 200)


def _same(password: str, again: str) -> str:
    if password != again:
        raise UserRefused("the two new passwords differ")
    return password


def _inside(address: str) -> str:
    """Return the address if it is a page of ours, else "": nobody is sent elsewhere after signing in."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    is_ours = not parts.scheme and not parts.netloc and parts.path.startswith("/ui") and "\\" not in address
    return address if is_ours and address.isprintable() else ""

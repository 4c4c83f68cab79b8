"""Signing in and out, and a person's own settings: password, second factor, sessions."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from worker.identity.person import PROXY, IdentityRefused
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.web import audit
from worker.web.context import WebContext
from worker.web.pages.entrance import (
    begin_session,
    begin_session_of,
    inside,
    refuse_sign_in,
    show_refused,
    show_sign_in,
    show_signed_out,
)
from worker.web.pages.gate import Form, Gate
from worker.web.pages.render import page
from worker.web.sessions import LONGEST, Session, end_session, sessions_of
from worker.web.users import (
    SignInRefused,
    UserRefused,
    find_user,
    limit_attempts,
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
        following = inside(request.query_params.get("next", ""))
        return _by_proxy(context, gate, request, following) or show_sign_in(context, following, gate.strange(request))

    @router.post("/sign-in")
    def enter(request: Request, fields: Form) -> Response:
        gate.require_own_page(request)
        runtime, following, address = context.runtime, inside(fields.get("next", "")), gate.address(request)
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
                return show_sign_in(context, following, str(error), 403)
            return show_refused(context, following, error)
        return begin_session(context, gate, request, person, following)

    @router.post("/sign-out")
    def leave(request: Request, session: Session = Depends(gate.writes("viewer"))) -> Response:  # noqa: B008
        with writing(context.runtime.engine) as connection:
            end_session(connection, session.id, session.person.name)
        gate.note(request, session, "signed_out")
        answer = RedirectResponse(_after_sign_out(session.person.issuer), 303)
        answer.delete_cookie(gate.cookie(request), path="/", secure=gate.is_secure(request))
        answer.headers["Clear-Site-Data"] = '"cache"'  # for the button Back
        return answer

    @router.get("/signed-out")
    def signed_out() -> Response:
        proxy = context.runtime.settings.web.proxy_sign_in
        return show_signed_out("your provider", "" if proxy is None else proxy.sign_out_url or "")


def _after_sign_out(issuer: str | None) -> str:
    """Return where the browser goes. Who signed in elsewhere may still be signed in there, and is told so."""
    if issuer is None:
        return "/ui/sign-in"
    return "/ui/signed-out" if issuer == PROXY else "/ui/signed-out/oidc"


def _by_proxy(context: WebContext, gate: Gate, request: Request, following: str) -> Response | None:
    """Sign in whom a trusted proxy names; None if it names nobody."""
    who = ""
    try:
        if gate.is_named_by_proxy(request):
            limit_attempts(context.runtime, gate.address(request))
        identity = gate.proxied(request)
        if identity is None:
            return None
        who = f"{identity.issuer} {identity.subject}"
        return begin_session_of(context, gate, request, identity, following, LONGEST)
    except SignInRefused as error:
        if not error.tried:
            return show_refused(context, following, error)
        return refuse_sign_in(context, gate, request, following, error, who)
    except IdentityRefused as error:
        return refuse_sign_in(context, gate, request, following, error, error.who)


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

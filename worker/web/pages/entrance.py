"""What all ways to sign in share: the page, the session that begins, and where the browser goes then."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from worker.doctor.exposure import people_sign_in
from worker.identity.person import Identity
from worker.store.db import writing
from worker.store.models import utcnow
from worker.web import audit
from worker.web.context import WebContext
from worker.web.identities import user_of_identity
from worker.web.pages.gate import Gate
from worker.web.pages.render import page, query
from worker.web.sessions import LONGEST, Session, end_session, start_session
from worker.web.users import SignInRefused, WebPerson


def show_sign_in(context: WebContext, following: str, error: str = "", status: int = 200) -> Response:
    """Return the page with all ways to sign in."""
    web = context.runtime.settings.web
    values = {
        "first": not people_sign_in(context.runtime),
        "following": following,
        "error": error,
        "passwords": web.passwords,
        "oidc": None if web.oidc is None else web.oidc.label,
        "oidc_link": f"/ui/sign-in/oidc{query({'next': following}) if following else ''}",
        "proxy": web.proxy_sign_in is not None,
    }
    return page("sign_in.html", None, values, status=status)


def begin_session(
    context: WebContext,
    gate: Gate,
    request: Request,
    person: WebPerson,
    following: str,
) -> Response:
    """Sign a person in: end the browser's session before, start a new one, and go to the page that was wanted."""
    before = gate.of(request)
    with writing(context.runtime.engine) as connection:
        token = _start(connection, gate, request, person, before, LONGEST)
    return _go_on(gate, request, following, token, LONGEST)


def _start(
    connection: Connection,
    gate: Gate,
    request: Request,
    person: WebPerson,
    before: Session | None,
    lasts: timedelta,
    detail: str = "",
) -> str:
    """Store a new session in place of the one before, and return its token."""
    now, address = utcnow(), gate.address(request)
    if before is not None:
        end_session(connection, before.id, before.person.name)
    browser = request.headers.get("user-agent", "")
    token = start_session(connection, person.name, address=address, browser=browser, now=now, lasts=lasts)
    audit.note(connection, person.name, "signed_in", now=now, detail=detail, address=address)
    return token


def _go_on(gate: Gate, request: Request, following: str, token: str, lasts: timedelta) -> Response:
    answer = RedirectResponse(following or "/ui", 303)
    gate.set_cookie(request, answer, gate.cookie(request), token, lasts)
    return answer


def begin_session_of(
    context: WebContext, gate: Gate, request: Request, identity: Identity, following: str, lasts: timedelta
) -> Response:
    """Sign in whom a provider or a proxy names. Raises SignInRefused."""
    before, detail = gate.of(request), f"{identity.issuer}, as {identity.role}"
    # User and session are one commit: a process that ends between them would leave a user who never signed in.
    with writing(context.runtime.engine) as connection:
        person = user_of_identity(connection, identity, utcnow())
        token = _start(connection, gate, request, person, before, lasts, detail)
    return _go_on(gate, request, following, token, lasts)


def refuse_sign_in(
    context: WebContext, gate: Gate, request: Request, following: str, error: Exception, who: str = ""
) -> Response:
    """Say why somebody who signs in elsewhere is not let in, and note it with what the audit trail needs."""
    with writing(context.runtime.engine) as connection:
        audit.note(
            connection,
            "unknown name",
            "sign_in_refused",
            now=utcnow(),
            about=who,
            detail=str(error),
            address=gate.address(request),
        )
    return show_sign_in(context, following, str(error), 403)


def show_refused(context: WebContext, following: str, error: SignInRefused) -> Response:
    """Say why an attempt was refused before anything was tried."""
    return show_sign_in(context, following, str(error), 429)


def show_signed_out(there: str, link: str, why: str = "") -> Response:
    """Say that the session here has ended, and where the one elsewhere ends. ``why`` there is no link for that."""
    return page("signed_out.html", None, there=there, link=link, why=why, is_back=False)


def show_signed_out_there(there: str) -> Response:
    """Say that both sessions have ended."""
    return page("signed_out.html", None, there=there, is_back=True)


def inside(address: str) -> str:
    """Return the address if it is a page of ours, else "": nobody is sent elsewhere after signing in."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    is_ours = not parts.scheme and not parts.netloc and parts.path.startswith("/ui") and "\\" not in address
    return address if is_ours and address.isprintable() else ""

"""Who may see a page: the session of a browser, the role that a page needs, and the proof that a form is ours."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi import Depends, Request, Response
from fastapi.responses import RedirectResponse

from config.sign_in import Role
from worker.identity.person import PROXY, Identity, IdentityRefused, identity_of_headers
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.web import audit
from worker.web.callers import caller_address, header_values, is_called_from
from worker.web.context import WebContext
from worker.web.identities import way_is_open
from worker.web.pausing import pause_reason
from worker.web.sessions import Session, find_session, note_seen

COOKIE = "vtsync_session"
BACKGROUND = "x-vtsync-background"
"""Sent by our script when it refreshes a page: a page that is only open does not keep its session alive."""
MOST_FIELDS = 200


class Elsewhere(Exception):
    """The browser is sent to another page."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url

    def response(self) -> Response:
        """Return the redirect."""
        return RedirectResponse(self.url, 303)


class Refused(Exception):
    """The person may not do this. ``status`` is 403 or 404."""

    def __init__(self, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.message, self.status = message, status


async def posted(request: Request) -> dict[str, str]:
    """Return the fields of a form. A field that is there twice has its last value."""
    body = await request.body()
    try:
        # PostgreSQL stores no NUL, and nobody types one.
        text = body.decode().replace("%00", "").replace("\0", "")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        raise Refused("this is not a form of these pages", 400) from None


Form = Annotated[Mapping[str, str], Depends(posted)]


def reason_of(fields: Mapping[str, str]) -> str:
    """Return why something is paused, as a form says it."""
    try:
        return pause_reason(fields.get("reason", ""))
    except ValueError as error:
        raise Refused(f"nothing was done: {error}", 400) from None


class Gate:
    """Finds the person of a request."""

    def __init__(self, context: WebContext) -> None:
        self._context = context
        self.noted_at = utcnow()
        """When somebody last did something here. What was read before that may be out of date."""

    def of(self, request: Request) -> Session | None:
        """Return the session of the browser; None if nobody has signed in."""
        token = request.cookies.get(self.cookie(request), "")
        if not token:
            return None
        now, engine = utcnow(), self._context.runtime.engine
        with reading(engine) as connection:
            found = find_session(connection, token, now)
        if found is None:
            return None
        session, is_to_be_noted = found
        if not self._is_open(request, session):
            return None
        if is_to_be_noted and BACKGROUND not in request.headers:
            with writing(engine) as connection:
                note_seen(connection, session, now)
        request.state.key = f"user {session.person.name}"  # for the log
        return session

    def reads(self, role: Role = "viewer") -> Callable[[Request], Session]:
        """Return a dependency for a page that needs this role."""

        def session(request: Request) -> Session:
            if "\0" in request.url.path or "%00" in request.url.query:
                raise Refused("there is no such page", 404)
            found = self.of(request)
            if found is None:
                here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                following = f"?next={quote(here)}" if request.method == "GET" else ""
                raise Elsewhere(f"/ui/sign-in{following}")
            if not found.person.may(role):
                self.note(request, found, "refused", request.url.path, f"needs the role {role}")
                raise Refused(f"this page is for the role {role}; an admin can change yours")
            return found

        return session

    def writes(self, role: Role = "operator") -> Callable[[Request, Mapping[str, str]], Session]:
        """Return a dependency for a form that changes something."""
        find = self.reads(role)

        def session(request: Request, form: Form) -> Session:
            self.require_own_page(request)
            found = find(request)
            if not hmac.compare_digest(form.get("csrf", "").encode(), found.csrf.encode()):
                raise Refused("this form is older than your session; go back, reload the page and try again")
            return found

        return session

    def require_own_page(self, request: Request) -> None:
        """Raise Refused if the browser says that a form was sent by another site."""
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        if site is not None:  # the browser compares the addresses itself; a proxy cannot spoil that
            is_own = site in ("same-origin", "none")
        else:
            public = self._context.runtime.settings.web.public_url
            own = {request.headers.get("host", ""), _place(public or "")}
            is_own = origin is not None and _place(origin) in own - {""}
        if not is_own:
            raise Refused(
                "this form was sent by another site, or by a browser that does not say by which. If it was this site,"
                " set web.public_url to the address in your browser"
            )

    def is_named_by_proxy(self, request: Request) -> bool:
        """Return True if a trusted proxy names a person, whoever that is."""
        proxy = self._context.runtime.settings.web.proxy_sign_in
        if proxy is None or not is_called_from(request.scope, proxy.trusted):
            return False
        return bool(header_values(request.scope, proxy.user_header))

    def proxied(self, request: Request) -> Identity | None:
        """Return whom a trusted proxy names; None if nobody. Raises IdentityRefused."""
        proxy = self._context.runtime.settings.web.proxy_sign_in
        if proxy is None or not is_called_from(request.scope, proxy.trusted):
            return None
        groups = [] if proxy.groups_header is None else header_values(request.scope, proxy.groups_header)
        return identity_of_headers(proxy, header_values(request.scope, proxy.user_header), groups)

    def strange(self, request: Request) -> str:
        """Return what is wrong with a request that names a person but does not come from the proxy; "" if nothing."""
        proxy = self._context.runtime.settings.web.proxy_sign_in
        if proxy is None or is_called_from(request.scope, proxy.trusted):
            return ""
        if not header_values(request.scope, proxy.user_header):
            return ""
        return (
            f"the header {proxy.user_header} was ignored: the request comes from"
            f" {caller_address(request.scope, ()) or 'an unknown address'}, which is not in web.proxy_sign_in.trusted"
        )

    def _is_open(self, request: Request, session: Session) -> bool:
        try:
            proxied = self.proxied(request) if session.person.issuer == PROXY else None
        except IdentityRefused:
            return False
        return way_is_open(self._context.runtime.settings.web, session.person, proxied)

    def cookie(self, request: Request) -> str:
        """Return the name of the session's cookie."""
        return self.bound(request, COOKIE)

    def bound(self, request: Request, cookie: str) -> str:
        """Return the name of a cookie. With TLS, no other host of the domain can set it."""
        return f"__Host-{cookie}" if self.is_secure(request) else cookie

    def set_cookie(self, request: Request, answer: Response, name: str, value: str, lasts: timedelta) -> None:
        """Give the browser a cookie that no script and no other site can use."""
        answer.set_cookie(
            name,
            value,
            max_age=int(lasts.total_seconds()),
            path="/",
            httponly=True,
            samesite="lax",
            secure=self.is_secure(request),
        )

    def pause_or_resume(
        self,
        request: Request,
        session: Session,
        fields: Mapping[str, str],
        name: str,
        pause: Callable[..., object],
        resume: Callable[..., object],
    ) -> bool:
        """Carry out the pause or the resumption that a form asks for. Return False if it asks for something else."""
        runtime, actor, address = self._context.runtime, session.person.name, self.address(request)
        match fields.get("what"):
            case "pause":
                pause(runtime, name, reason=reason_of(fields), actor=actor, address=address)
            case "resume":
                resume(runtime, name, actor=actor, address=address)
            case _:
                return False
        self.noted_at = utcnow()
        return True

    def note(self, request: Request, session: Session, action: str, about: str = "", detail: str = "") -> None:
        """Add a line to the audit trail."""
        self.noted_at = utcnow()
        with writing(self._context.runtime.engine) as connection:
            audit.note(
                connection,
                session.person.name,
                action,
                now=utcnow(),
                about=about,
                detail=detail,
                address=self.address(request),
            )

    def address(self, request: Request) -> str:
        """Return the address of the browser."""
        return audit.address_of(self._context, request)

    def is_secure(self, request: Request) -> bool:
        """Return True if the browser reaches these pages by TLS."""
        public = self._context.runtime.settings.web.public_url
        return request.url.scheme == "https" or (public or "").startswith("https://")


def _place(url: str) -> str:
    """Return host and port of an address; "" if it has none."""
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""

"""Signing in by OpenID Connect: the way to the provider, and the provider's answer."""

from __future__ import annotations

import hmac
import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote, unquote

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from config.sign_in import OidcSignIn
from worker.identity.id_token import IdTokenRefused
from worker.identity.metadata import ProviderFailed
from worker.identity.person import Identity, IdentityRefused, identity_of_claims
from worker.identity.provider import OidcProvider, SignInSecrets
from worker.store.db import writing
from worker.store.models import utcnow
from worker.web.context import WebContext
from worker.web.identities import SIGN_IN_LASTS, begin_sign_in, secrets_of, take_sign_in
from worker.web.pages.entrance import (
    begin_session_of,
    inside,
    refuse_sign_in,
    show_refused,
    show_sign_in,
    show_signed_out,
    show_signed_out_there,
)
from worker.web.pages.gate import Gate, Refused
from worker.web.users import SignInRefused, limit_attempts

log = structlog.get_logger(__name__)

COOKIE = "vtsync_sign_in"
ANSWER_PATH = "/ui/sign-in/oidc/answer"
SIGN_OUT_COOKIE = "vtsync_sign_out"
SIGN_OUT_PATH = "/ui/sign-out/oidc"
SIGNED_OUT_PATH = "/ui/signed-out/oidc"
LONGEST_SAID = 200
CANNOT_ASK = "How to end that session cannot be asked now. Sign out there, or try again in a minute."
NO_SIGN_OUT = "The provider names no page that ends that session. Sign out there, or close all windows of this browser."
BEGIN_AGAIN = (
    "this sign-in was begun in another browser or at another address of these pages, was used already, or is older than"
    " ten minutes; begin again"
)
_INTERACTION = "begin again, and do what the provider asks"
WHAT_TO_DO = {
    "access_denied": "you or the provider said no; begin again, or ask there whether you may use these pages",
    "login_required": _INTERACTION,
    "interaction_required": _INTERACTION,
    "consent_required": _INTERACTION,
    "account_selection_required": _INTERACTION,
    "temporarily_unavailable": "try again in a minute",
    "server_error": "try again in a minute",
    "invalid_scope": "an admin must correct web.oidc.scopes",
    "unauthorized_client": "an admin must correct the client at the provider",
    "invalid_request": "an admin must correct the client at the provider",
    "unsupported_response_type": "an admin must allow the authorization code flow for the client at the provider",
}
"""What to do about an error that a provider sends in place of a code (OAuth 2.0, 4.1.2.1; OpenID Connect, 3.1.2.6)."""
_IN_LINE = threading.BoundedSemaphore(6)
"""Requests that wait for the provider. More are refused: each of them keeps a thread of the API."""


class _Providers:
    """The provider of the current configuration."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: OidcProvider | None = None

    @contextmanager
    def of(self, oidc: OidcSignIn) -> Iterator[OidcProvider]:
        """Give the provider to one request. Raises SignInRefused if too many wait for it."""
        with self._lock:
            if self._made is None or self._made.oidc != oidc:
                self._made = OidcProvider(oidc)
            made = self._made
        if not _IN_LINE.acquire(blocking=False):
            raise SignInRefused("too many people sign in at this moment; try again in a few seconds", tried=False)
        try:
            yield made
        finally:
            _IN_LINE.release()


def routes(context: WebContext, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/ui", include_in_schema=False)
    providers = _Providers()

    @router.get("/sign-in/oidc")
    def begin(request: Request) -> Response:
        oidc, redirect = _configured(context)
        following = inside(request.query_params.get("next", ""))
        try:
            limit_attempts(context.runtime, gate.address(request))
            with providers.of(oidc) as provider:
                provider.read()
            with writing(context.runtime.engine) as connection:
                token = begin_sign_in(connection, utcnow())
            link = provider.link(redirect, secrets_of(token))
        except SignInRefused as error:
            return show_refused(context, following, error)
        except ProviderFailed as error:
            return _failed(context, following, error)
        answer = RedirectResponse(link, 303)
        gate.set_cookie(request, answer, _cookie(gate, request), f"{token}.{quote(following, safe='')}", SIGN_IN_LASTS)
        return answer

    @router.get(ANSWER_PATH.removeprefix("/ui"))
    def answered(request: Request) -> Response:
        oidc, redirect = _configured(context)
        token, _, wanted = request.cookies.get(_cookie(gate, request), "").partition(".")
        following, said, attempt = inside(unquote(wanted)), dict(request.query_params), secrets_of(token)
        try:
            limit_attempts(context.runtime, gate.address(request))
            if not _take(context, token, said):
                return show_sign_in(context, following, BEGIN_AGAIN, 403)
            with providers.of(oidc) as provider:
                identity = _identity(provider, said, redirect, attempt)
        except SignInRefused as error:
            return show_refused(context, following, error)
        except ProviderFailed as error:
            return _failed(context, following, error)
        except IdentityRefused as error:
            return refuse_sign_in(context, gate, request, following, error, error.who)
        try:
            answer = begin_session_of(context, gate, request, identity, following, oidc.session)
        except SignInRefused as error:
            return refuse_sign_in(context, gate, request, following, error, f"{identity.issuer} {identity.subject}")
        answer.delete_cookie(_cookie(gate, request), path="/", secure=gate.is_secure(request))
        return answer

    _sign_out(router, context, gate, providers)
    return router


def _sign_out(router: APIRouter, context: WebContext, gate: Gate, providers: _Providers) -> None:
    """Add the pages that follow the end of the session here: the provider's own session goes on until it ends there.

    Nothing here needs a session, or changes anything: who opens these pages is only sent to the provider.
    """

    def link_there(request: Request, oidc: OidcSignIn, state: str) -> str | None:
        limit_attempts(context.runtime, gate.address(request))
        with providers.of(oidc) as provider:
            return provider.sign_out_link(f"{context.runtime.settings.web.public_url}{SIGNED_OUT_PATH}", state)

    @router.get(SIGNED_OUT_PATH.removeprefix("/ui"))
    def signed_out(request: Request) -> Response:
        oidc, _ = _configured(context)
        cookie = gate.bound(request, SIGN_OUT_COOKIE)
        if _is_state_of(request.cookies.get(cookie, ""), request.query_params):
            answer = show_signed_out_there(oidc.label)
            answer.delete_cookie(cookie, path="/", secure=gate.is_secure(request))
            return answer
        if oidc.sign_out_url is not None:
            return show_signed_out(oidc.label, oidc.sign_out_url)
        try:
            has_page = link_there(request, oidc, "") is not None
        except (SignInRefused, ProviderFailed) as error:
            return cannot_ask(oidc, error)
        return show_signed_out(oidc.label, SIGN_OUT_PATH) if has_page else show_signed_out(oidc.label, "", NO_SIGN_OUT)

    @router.get(SIGN_OUT_PATH.removeprefix("/ui"))
    def leave(request: Request) -> Response:
        oidc, _ = _configured(context)
        token = secrets.token_urlsafe(32)
        try:
            link = link_there(request, oidc, secrets_of(token).state)
        except (SignInRefused, ProviderFailed) as error:
            return cannot_ask(oidc, error)
        if link is None:
            return show_signed_out(oidc.label, "", NO_SIGN_OUT)
        answer = RedirectResponse(link, 303)
        gate.set_cookie(request, answer, gate.bound(request, SIGN_OUT_COOKIE), token, SIGN_IN_LASTS)
        return answer

    def cannot_ask(oidc: OidcSignIn, error: Exception) -> Response:
        log.warning("the provider was not asked how to sign out", reason=str(error))
        return show_signed_out(oidc.label, "", CANNOT_ASK)


def _is_state_of(token: str, said: Mapping[str, str]) -> bool:
    """Return whether an answer of the provider is for this token."""
    expected = secrets_of(token).state.encode()
    return bool(token) and hmac.compare_digest(said.get("state", "").encode("utf-8", "replace"), expected)


def _take(context: WebContext, token: str, said: Mapping[str, str]) -> bool:
    """Use up the sign-in that this browser has begun. False: the answer is not for it."""
    # Who has another state must not use up the sign-in of the person.
    if not _is_state_of(token, said):
        return False
    with writing(context.runtime.engine) as connection:
        return take_sign_in(connection, token, utcnow())


def _identity(provider: OidcProvider, said: Mapping[str, str], redirect: str, attempt: SignInSecrets) -> Identity:
    """Return whom the provider's answer names. Raises IdentityRefused or ProviderFailed."""
    code = _code(provider.oidc, said)
    try:
        claims = provider.claims(code, redirect, attempt)
    except IdTokenRefused as error:
        log.warning("an id_token was refused", issuer=provider.oidc.issuer, reason=str(error))
        raise IdentityRefused(
            f"the id_token of the provider was refused: {error}; begin again, or ask an admin"
        ) from None
    try:
        return identity_of_claims(provider.oidc, claims)
    except IdentityRefused as error:
        # Which claims there are helps to correct web.oidc. Their values are about a person.
        log.warning("a person was not let in", issuer=provider.oidc.issuer, reason=str(error), claims=sorted(claims))
        raise


def _configured(context: WebContext) -> tuple[OidcSignIn, str]:
    """Return the provider's configuration and the address to which it sends people back. Raises Refused."""
    web = context.runtime.settings.web
    if web.oidc is None or web.public_url is None:
        raise Refused("there is no such page", 404)
    return web.oidc, f"{web.public_url}{ANSWER_PATH}"


def _code(oidc: OidcSignIn, said: Mapping[str, str]) -> str:
    """Return the code of the provider's answer. Raises IdentityRefused."""
    if said.get("iss", oidc.issuer) != oidc.issuer:
        raise IdentityRefused("the answer is of another provider; begin again")
    if "error" in said:
        words = said.get("error_description") or said["error"]
        printable = re.sub(r"\s+", " ", "".join(one if one.isprintable() else " " for one in words)).strip()
        do = WHAT_TO_DO.get(said["error"], "begin again, or ask an admin")
        raise IdentityRefused(f'the provider did not sign you in: "{printable[:LONGEST_SAID]}"; {do}')
    if not said.get("code"):
        raise IdentityRefused("the provider's answer has no code; begin again")
    return said["code"]


def _failed(context: WebContext, following: str, error: ProviderFailed) -> Response:
    log.warning("sign-in by OpenID Connect failed", reason=str(error))
    return show_sign_in(context, following, f"sign-in by OpenID Connect does not work now: {error}", 503)


def _cookie(gate: Gate, request: Request) -> str:
    return gate.bound(request, COOKIE)

"""Signing in by OpenID Connect: the way to the provider, and the provider's answer."""

from __future__ import annotations

import hmac
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote, unquote

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from config.sign_in import OidcSignIn
from worker.identity.id_token import IdTokenRefused
from worker.identity.person import Identity, IdentityRefused, identity_of_claims
from worker.identity.provider import OidcProvider, ProviderFailed, SignInSecrets
from worker.store.db import writing
from worker.store.models import utcnow
from worker.web.context import WebContext
from worker.web.identities import SIGN_IN_LASTS, begin_sign_in, secrets_of, take_sign_in
from worker.web.pages.entrance import begin_session_of, inside, refuse_sign_in, show_refused, show_sign_in
from worker.web.pages.gate import Gate, Refused
from worker.web.users import SignInRefused, limit_attempts

log = structlog.get_logger(__name__)

COOKIE = "vtsync_sign_in"
ANSWER_PATH = "/ui/sign-in/oidc/answer"
LONGEST_SAID = 200
BEGIN_AGAIN = (
    "this sign-in was begun in another browser or at another address of these pages, was used already, or is older than"
    " ten minutes; begin again"
)
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
            if not _take(context, token, attempt, said):
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

    return router


def _take(context: WebContext, token: str, attempt: SignInSecrets, said: Mapping[str, str]) -> bool:
    """Use up the sign-in that this browser has begun. False: the answer is not for it."""
    # Who has another state must not use up the sign-in of the person.
    if not hmac.compare_digest(said.get("state", "").encode("utf-8", "replace"), attempt.state.encode()):
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
    return identity_of_claims(provider.oidc, claims)


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
        raise IdentityRefused(f'the provider did not sign you in: "{printable[:LONGEST_SAID]}"')
    if not said.get("code"):
        raise IdentityRefused("the provider's answer has no code; begin again")
    return said["code"]


def _failed(context: WebContext, following: str, error: ProviderFailed) -> Response:
    log.warning("sign-in by OpenID Connect failed", reason=str(error))
    return show_sign_in(context, following, f"sign-in by OpenID Connect does not work now: {error}", 503)


def _cookie(gate: Gate, request: Request) -> str:
    return gate.bound(request, COOKIE)

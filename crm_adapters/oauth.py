"""OAuth 2 for adapters: the first consent, and tokens that are renewed.

An adapter whose users give their consent in a browser is a ``ConnectsByOAuth``: its ``oauth`` returns the ``OAuthApp``.
`vtsync connect CONNECTION` asks for the consent and stores the grant. The adapter signs its requests with it:

    self._api = HttpApi("Acme", options.url, GrantAuth(self.oauth(), self.services), self.services)
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from config.types import Token
from crm_adapters.base import AdapterError, CredentialsRejected, Services, SourceInvalid, SourceUnavailable
from crm_adapters.clock import current_time
from crm_adapters.http.api import HttpApi, TimeLimits
from crm_adapters.http.auth import Signature, bearer, plain
from crm_adapters.http.changes import moment_of
from crm_adapters.http.reply import ApiReply
from crm_adapters.http.scrub import spoken
from crm_adapters.services import Grant, LocalServices, Values

CLIENT = "correct the client id and secret in the options of this connection"
CONNECT = "run `vtsync connect CONNECTION` for this connection again"
EARLY = timedelta(minutes=5)
"""A token is renewed this long before it expires, so that it does not expire in the middle of a request."""
NEVER_STORED = frozenset({"expires_in", "expires_in_sec", "id_token"})
"""``id_token`` has a person's data."""

_USED_UP = frozenset(
    """
    invalid_grant invalid_code invalid_token bad_refresh_token expired_token access_denied bad_verification_code
    """.split()
)
_CLIENT = frozenset(
    """
    invalid_client unauthorized_client invalid_client_id invalid_client_secret incorrect_client_credentials
    """.split()
)
_PASSING = frozenset("temporarily_unavailable server_error slow_down".split())


@dataclass(frozen=True, slots=True)
class OAuthApp:
    """An app that is registered with the CRM's vendor.

    ``extra`` are further parameters of the link, such as ``access_type=offline``. ``pkce``: the vendor supports proof
    keys. ``client_auth`` says how the client's secret is sent: in the form, or as basic authentication.
    """

    vendor: str
    authorize_url: str
    token_url: str
    client_id: str
    client_secret: SecretStr | str = field(repr=False)
    scopes: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    pkce: bool = True
    client_auth: Literal["form", "basic"] = "form"
    scope_separator: str = " "

    def authorize_link(self, state: str, redirect: str, verifier: str = "") -> str:
        """Return the address at which a person gives the consent.

        ``state`` is random, and must come back with the code. ``verifier`` is of ``new_verifier``, for PKCE.
        """
        parts = urlsplit(self.authorize_url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True)) | dict(self.extra)
        query |= {"response_type": "code", "client_id": self.client_id, "redirect_uri": redirect, "state": state}
        if self.scopes:
            query["scope"] = self.scope_separator.join(self.scopes)
        if self.pkce and verifier:
            challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
            query |= {"code_challenge": challenge, "code_challenge_method": "S256"}
        return urlunsplit(parts._replace(query=urlencode(query)))

    def exchange(self, code: str, redirect: str, verifier: str = "") -> Values:
        """Return the grant for the code of a redirect. Raises AdapterError."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect}
        if self.pkce and verifier:
            form["code_verifier"] = verifier
        return self._granted(form, {}, "the code was not accepted: it may be used or too old")

    def refresh(self, values: Values) -> Values:
        """Return the renewed grant. Fields that the response leaves out keep their values.

        Raises CredentialsRejected if the refresh token is not accepted (any more), and SourceUnavailable if it is not
        known whether it was. A token that is used up by a lost response is then rejected at the next call.
        """
        token = values.get("refresh_token")
        if not isinstance(token, str) or not token:
            raise CredentialsRejected(f"{self.vendor}: the grant has expired and cannot be renewed; {CONNECT}")
        form = {"grant_type": "refresh_token", "refresh_token": token}
        return self._granted(form, values, "the stored grant is not accepted any longer")

    def client_token(self) -> Values:
        """Return a grant for the app itself, without a person (client credentials). Raises AdapterError."""
        form = {"grant_type": "client_credentials"}
        if self.scopes:
            form["scope"] = self.scope_separator.join(self.scopes)
        return self._granted(form, {}, "the app gets no token of its own", CLIENT)

    def _granted(self, form: dict[str, str], before: Values, refused: str, remedy: str = CONNECT) -> Values:
        secret = plain(self.client_secret)
        hidden = (secret, *(form[name] for name in ("code", "refresh_token", "code_verifier") if name in form))
        auth = _ClientAuth(self, hidden)
        if self.client_auth == "form":
            form = form | {"client_id": self.client_id} | ({"client_secret": secret} if secret else {})
        asked = current_time()
        times = TimeLimits(connect=10, read=20, call=30)
        api = HttpApi(
            self.vendor, self.token_url, auth, LocalServices(), judge=self._judge(refused, hidden, remedy), times=times
        )
        try:
            answer = api.write("POST", "", form=form).data
        except SourceUnavailable as error:
            raise _explained(error, is_refresh="refresh_token" in form) from None
        finally:
            api.close()
        return self._values(answer, before, asked, remedy)

    def _values(self, answer: Any, before: Values, asked: datetime, remedy: str) -> Values:
        if not isinstance(answer, Mapping) or not isinstance(answer.get("access_token"), str):
            raise SourceInvalid(f"{self.vendor} responds to the request for a token without one; {remedy}")
        new = {
            name: value
            for name, value in answer.items()
            if name not in NEVER_STORED and isinstance(value, str | int | float | bool)
        }
        seconds = _seconds(answer.get("expires_in"))
        expires = None if seconds is None else (asked + timedelta(seconds=seconds)).isoformat()
        # Without a new refresh token the old one stays valid.
        return {**before, **new, "expires_at": expires}

    def _judge(self, refused: str, hidden: tuple[str, ...], remedy: str) -> Any:
        def judge(reply: ApiReply) -> AdapterError | None:
            code = next((one for name in ("error", "code", "status") if isinstance(one := reply.at(name), str)), "")
            code = code.lower()
            said = spoken(reply.data, hidden) or code or f"status {reply.status}"
            if reply.status == 429 or reply.status >= 500:
                return None
            if code in _PASSING:
                return SourceUnavailable(f"{self.vendor} cannot issue a token at the moment ({said})")
            if code in _CLIENT or reply.status in (401, 403):
                return CredentialsRejected(
                    f"{self.vendor} refuses the app ({said}); correct its client id and secret in the options of this"
                    " connection"
                )
            if code in _USED_UP:
                return CredentialsRejected(f"{self.vendor}: {refused} ({said}); {remedy}")
            if reply.status != 200 or reply.at("error"):
                return SourceInvalid(
                    f"{self.vendor} refuses the request for a token ({said}); compare the app's settings at the vendor"
                    " (redirect address, scopes) with the options of this connection"
                )
            return None

        return judge


def new_verifier() -> str:
    """Return a random text for PKCE. It is also fit as a ``state``."""
    return secrets.token_urlsafe(48)


class ConnectsByOAuth(ABC):
    """An adapter that needs a person's consent: ``class Acme(Adapter, ConnectsByOAuth)``."""

    @abstractmethod
    def oauth(self) -> OAuthApp | None:
        """Return the app. None: the options have a fixed token, so no consent is needed. Makes no request."""


def granted_address(services: Services, name: str) -> str:
    """Return the address of the API that came with the token, such as ``instance_url``; "" if there is none."""
    found = None if services.grant is None else (services.grant.current() or {}).get(name)
    return found if isinstance(found, str) else ""


class GrantAuth:
    """Signs requests with the grant of `vtsync connect`. Renews it early, and once after it was refused."""

    remedy = CONNECT

    def __init__(self, app: OAuthApp, services: Services) -> None:
        self._app = app
        self._services = services
        self._used: Values = {}
        self._early_failed = False

    def signature(self) -> Signature:
        """See ``Auth.signature``."""
        self._used = self._current()
        token = self._used.get("access_token")
        if not isinstance(token, str) or not token:
            raise CredentialsRejected(f"{self._app.vendor}: the stored grant has no token; {CONNECT}")
        kept = (self._used.get("refresh_token"), plain(self._app.client_secret))
        signed = bearer(token)
        return Signature(signed.headers, secrets=(*signed.secrets, *(one for one in kept if isinstance(one, str))))

    def renew(self) -> bool:
        """See ``Auth.renew``."""
        if not self._used.get("refresh_token"):
            return False
        before = self._used
        self._used = self._grant().renewed(before, self._app.refresh)
        return self._used.get("access_token") != before.get("access_token")

    def _current(self) -> Values:
        grant = self._grant()
        values = grant.current()
        if values is None:
            raise CredentialsRejected(
                f"{self._app.vendor} needs a person's consent; run `vtsync connect CONNECTION` for this connection"
            )
        expires = moment_of(values.get("expires_at"))
        left = None if expires is None else expires - current_time()
        if left is None or left > EARLY or not values.get("refresh_token"):
            return values
        is_valid = left > timedelta(0)
        if is_valid and self._early_failed:
            return values
        try:
            return grant.renewed(values, self._app.refresh)
        except SourceUnavailable:
            if not is_valid:
                raise
            # The token still works. The CRM's login may be back before it expires.
            self._early_failed = True
            return values

    def _grant(self) -> Grant:
        if self._services.grant is None:
            raise CredentialsRejected(
                f"{self._app.vendor} needs a person's consent; run `vtsync connect CONNECTION` for this connection"
            )
        return self._services.grant


class TokenOrApp(BaseModel):
    """A connection has a fixed token, or an app whose consent `vtsync connect` asks for."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    token: Token | None = Field(None, description="A token of the CRM. Or set `client_id`.")
    client_id: str | None = Field(None, description="The client id of your app, for `vtsync connect`. Or set `token`.")
    client_secret: Token | None = Field(None, description="The client secret of your app.")

    @model_validator(mode="after")
    def _has_one_credential(self) -> Self:
        if (self.token is None) == (self.client_id is None):
            raise ValueError("needs one credential: set token, or client_id and client_secret")
        if self.client_id is not None and self.client_secret is None:
            raise ValueError("client_id needs client_secret beside it")
        return self

    def app(self, vendor: str, authorize_url: str, token_url: str, **more: Any) -> OAuthApp | None:
        """Return the app; None if there is a fixed token. ``more`` are further fields of ``OAuthApp``."""
        if self.client_id is None or self.client_secret is None:
            return None
        return OAuthApp(vendor, authorize_url, token_url, self.client_id, self.client_secret, **more)


class ClientCredentialsAuth:
    """Signs requests with a token that the app gets for itself. The token stays in this process."""

    remedy = CLIENT

    def __init__(self, app: OAuthApp) -> None:
        self._app = app
        self._values: Values = {}

    def signature(self) -> Signature:
        """See ``Auth.signature``."""
        expires = moment_of(self._values.get("expires_at"))
        if not self._values or (expires is not None and expires - current_time() < EARLY / 5):
            self._values = self._app.client_token()
        signed = bearer(str(self._values["access_token"]))
        return Signature(signed.headers, secrets=(*signed.secrets, plain(self._app.client_secret)))

    def renew(self) -> bool:
        """See ``Auth.renew``."""
        self._values = self._app.client_token()
        return True


@dataclass(frozen=True, slots=True, repr=False)
class _ClientAuth:
    """The client's own credential, for the token's address."""

    app: OAuthApp
    hidden: tuple[str, ...]
    remedy: str = CONNECT

    def signature(self) -> Signature:
        if self.app.client_auth == "form":
            return Signature(secrets=self.hidden)
        # RFC 6749: both halves are form-encoded first.
        pair = f"{quote_plus(self.app.client_id)}:{quote_plus(plain(self.app.client_secret))}"
        encoded = b64encode(pair.encode()).decode()
        return Signature({"Authorization": f"Basic {encoded}"}, secrets=(*self.hidden, encoded))

    def renew(self) -> bool:
        return False


def _explained(error: SourceUnavailable, *, is_refresh: bool) -> SourceUnavailable:
    text = f"no new token: {error}"
    if is_refresh:
        text += (
            ". The next run tries again. If the vendor has used up the old grant meanwhile, it refuses it, and the"
            " connection asks for `vtsync connect CONNECTION`"
        )
    return SourceUnavailable(text, retry_after=error.retry_after)


def _seconds(value: Any) -> float | None:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return seconds if 0 < seconds < 10 * 366 * 86_400 else None

"""The credential of a JSON API, from its options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from pydantic import SecretStr

from crm_adapters.base import Services
from crm_adapters.http import Auth, BasicAuth, BearerAuth, HeaderAuth, NoAuth, ParameterAuth, Signature
from crm_adapters.oauth import ClientCredentialsAuth, GrantAuth, OAuthApp
from crm_adapters.rest.options import (
    BearerToken,
    ClientCredentials,
    HeaderKey,
    NoCredential,
    ParameterKey,
    PersonsConsent,
    RestOptions,
    UserPassword,
)


class AuthWithHeaders:
    """A credential, and further headers of which some are secret."""

    def __init__(self, auth: Auth, headers: Mapping[str, str | SecretStr]) -> None:
        self._auth = auth
        self._headers = HeaderAuth(headers)

    @property
    def remedy(self) -> str:
        """See ``Auth.remedy``."""
        return self._auth.remedy

    def signature(self) -> Signature:
        """See ``Auth.signature``."""
        own, further = self._auth.signature(), self._headers.signature()
        headers = {**further.headers, **own.headers}
        return Signature(headers, own.parameters, secrets=(*own.secrets, *further.secrets))

    def renew(self) -> bool:
        """See ``Auth.renew``."""
        return self._auth.renew()


def auth_of(options: RestOptions, services: Services) -> Auth:
    """Return what signs the requests."""
    return AuthWithHeaders(_chosen(options, services), options.headers)


def _chosen(options: RestOptions, services: Services) -> Auth:
    match options.auth:
        case NoCredential():
            return NoAuth()
        case BearerToken(token=token, scheme=scheme):
            return BearerAuth(token, scheme=scheme)
        case HeaderKey(name=name, token=token):
            return HeaderAuth({name: token})
        case UserPassword(token=token, password=password):
            return BasicAuth(token, password or "")
        case ParameterKey(name=name, token=token):
            return ParameterAuth(name, token)
        case ClientCredentials():
            return ClientCredentialsAuth(oauth_app(options, options.auth))
        case PersonsConsent():
            return GrantAuth(oauth_app(options, options.auth), services)
    assert_never(options.auth)


def oauth_app(options: RestOptions, auth: ClientCredentials | PersonsConsent) -> OAuthApp:
    """Return the app that is registered with the vendor."""
    return OAuthApp(
        options.vendor,
        authorize_url=auth.authorize_url if isinstance(auth, PersonsConsent) else "",
        token_url=auth.token_url,
        client_id=auth.client_id,
        client_secret=auth.client_secret,
        scopes=auth.scopes,
        extra=auth.extra if isinstance(auth, PersonsConsent) else {},
        client_auth=auth.client_auth,
    )

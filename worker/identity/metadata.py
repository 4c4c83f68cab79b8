"""What an OpenID provider says about itself in its discovery document, and whether we can use it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from config.sign_in import ClientAuth, OidcSignIn
from config.types import is_loopback
from worker.identity.id_token import ALGORITHMS

_ADDRESS = re.compile(r"https?://[!-~]+")


class ProviderFailed(Exception):
    """The provider did not do its part. The message says what happened, and for an admin what to do."""


@dataclass(frozen=True, slots=True)
class ProviderMetadata:
    """What the provider's discovery document says."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    client_auth: str
    """How the client proves itself: ``client_secret_basic``, ``client_secret_post`` or ``none``."""
    userinfo_endpoint: str | None = None
    """Where further claims are read. None: the configuration does not ask for them."""
    end_session_endpoint: str | None = None
    """Where the provider ends its own session. None: it does not say."""
    scopes: frozenset[str] | None = None
    claims: frozenset[str] | None = None
    """Scopes and claims that the provider names. None: it names none. It may know more than it names."""


def read_metadata(oidc: OidcSignIn, document: Mapping[str, Any]) -> ProviderMetadata:
    """Return what a discovery document says. Raises ProviderFailed if it is of another issuer, or cannot be used."""
    said = document.get("issuer")
    if said != oidc.issuer:
        raise ProviderFailed(
            f"the provider calls itself {json.dumps(said)[:200]}, and web.oidc.issuer is {json.dumps(oidc.issuer)};"
            " they must be equal, also in a slash at the end"
        )
    signed = document.get("id_token_signing_alg_values_supported")
    if isinstance(signed, list) and not set(ALGORITHMS) & {one for one in signed if isinstance(one, str)}:
        raise ProviderFailed(
            f"the provider signs with none of {', '.join(ALGORITHMS)}; choose one of them in its settings for this"
            " client"
        )
    return ProviderMetadata(
        authorization_endpoint=_endpoint(oidc, document, "authorization_endpoint"),
        token_endpoint=_endpoint(oidc, document, "token_endpoint"),
        jwks_uri=_endpoint(oidc, document, "jwks_uri"),
        client_auth=_client_auth(oidc, document.get("token_endpoint_auth_methods_supported")),
        userinfo_endpoint=_endpoint(oidc, document, "userinfo_endpoint") if oidc.userinfo else None,
        end_session_endpoint=_end_session(oidc, document),
        scopes=_names(document.get("scopes_supported")),
        claims=_names(document.get("claims_supported")),
    )


def _names(listed: Any) -> frozenset[str] | None:
    return frozenset(one for one in listed if isinstance(one, str)) if isinstance(listed, list) else None


def _client_auth(oidc: OidcSignIn, supported: Any) -> str:
    if oidc.client_secret is None:
        return "none"
    if oidc.client_auth is not None:
        return oidc.client_auth
    named = _names(supported)
    # If the provider names none, it is the first one. Some allow only that unless the client is registered otherwise.
    for method in get_args(ClientAuth):
        if named is None or method in named:
            return str(method)
    raise ProviderFailed(
        f"the provider accepts a client only by {', '.join(sorted(named or ()))}, and not by its secret; allow"
        " client_secret_basic, or set web.oidc.client_auth"
    )


def _end_session(oidc: OidcSignIn, document: Mapping[str, Any]) -> str | None:
    """Return where the provider ends its session. It is optional, so one that cannot be used stops nobody."""
    try:
        return _endpoint(oidc, document, "end_session_endpoint")
    except ProviderFailed:
        return None


def _endpoint(oidc: OidcSignIn, document: Mapping[str, Any], name: str) -> str:
    found = document.get(name)
    if not isinstance(found, str) or not _ADDRESS.fullmatch(found):
        raise ProviderFailed(f"the provider's discovery document has no {name}; compare web.oidc.issuer")
    # A provider elsewhere must not send us to a service of this machine.
    if not found.startswith("https://") and not (is_loopback(found) and is_loopback(oidc.issuer)):
        raise ProviderFailed(f"the provider's {name} does not begin with https://, so others could change its answers")
    return found

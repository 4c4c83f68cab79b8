"""OpenID providers that people have, each as it documents itself: a row for each, with its sources.

To add one, write its section into docs/openid-connect.md, and a row here. Addresses are those of the provider; the
test replaces their hosts by that of the provider of the tests. The configuration is that of the documentation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from config.sign_in import Role

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class KnownProvider:
    """A provider as it documents itself, and what a sign-in there comes to."""

    name: str
    section: str
    """The heading in docs/openid-connect.md, and which of the section's examples."""
    example: int
    discovery: Document
    claims: Document
    """Of the id_token, without those of the exchange: ``iss``, ``aud``, ``iat``, ``exp`` and ``nonce``."""
    user: str
    role: Role
    userinfo: Document | None = None
    scope_of: dict[str, str] = field(default_factory=dict)
    """Claims that are sent only if this scope was asked for."""
    signs_out: bool = True
    """Whether the page after signing out links to the provider."""


KEYCLOAK: Document = {
    # https://www.keycloak.org/securing-apps/oidc-layers#_endpoints; the document of a realm, version 26
    "issuer": "https://login.example.com/realms/staff",
    "authorization_endpoint": "https://login.example.com/realms/staff/protocol/openid-connect/auth",
    "token_endpoint": "https://login.example.com/realms/staff/protocol/openid-connect/token",
    "userinfo_endpoint": "https://login.example.com/realms/staff/protocol/openid-connect/userinfo",
    "end_session_endpoint": "https://login.example.com/realms/staff/protocol/openid-connect/logout",
    "jwks_uri": "https://login.example.com/realms/staff/protocol/openid-connect/certs",
    "id_token_signing_alg_values_supported": ["PS384", "RS384", "EdDSA", "ES384", "HS256", "HS512", "ES256", "RS256"],
    "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_basic", "client_secret_post"],
    "scopes_supported": ["openid", "profile", "email", "roles", "offline_access", "web-origins", "acr", "basic"],
    "claims_supported": ["aud", "sub", "iss", "auth_time", "name", "given_name", "preferred_username", "email", "acr"],
}
KEYCLOAK_PERSON: Document = {
    "sub": "6fe1b9b9-5ddd-478d-9b38-bd11698295cf",
    "azp": "vtsync",
    "typ": "ID",
    "sid": "938d4f42-e7a4-4c2b-9038-f808c917c366",
    "acr": "1",
    "preferred_username": "ana",
    "email": "ana@example.com",
    "email_verified": True,
}

KNOWN = [
    KnownProvider(
        # The mapper Group Membership: https://www.keycloak.org/docs/latest/server_admin/#_protocol-mappers
        "Keycloak, groups as paths",
        "Keycloak",
        0,
        KEYCLOAK,
        KEYCLOAK_PERSON | {"groups": ["/staff", "/texting/operators"]},
        user="ana",
        role="operator",
    ),
    KnownProvider(
        # The same page: realm roles are in realm_access.roles, client roles in resource_access.CLIENT.roles
        "Keycloak, realm roles",
        "Keycloak",
        1,
        KEYCLOAK,
        KEYCLOAK_PERSON
        | {
            "realm_access": {"roles": ["offline_access", "texting-admin"]},
            "resource_access": {"account": {"roles": ["view-profile"]}},
        },
        user="ana",
        role="admin",
    ),
    KnownProvider(
        # https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc
        # https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference
        "Microsoft Entra ID",
        "Microsoft Entra ID",
        0,
        {
            "issuer": "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0",
            "authorization_endpoint": "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/oauth2/v2.0/authorize",
            "token_endpoint": "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/oauth2/v2.0/token",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "jwks_uri": "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/discovery/v2.0/keys",
            "end_session_endpoint": "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/oauth2/v2.0/logout",
            "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
        },
        {
            "aio": "opaque",
            "name": "Ana Ruiz",
            "oid": "00000000-0000-0000-66f3-3332eca7ea81",
            "preferred_username": "ana@example.com",
            "rh": "opaque",
            "roles": ["vtsync.operator"],
            "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
            "tid": "11111111-2222-3333-4444-555555555555",
            "uti": "fqiBqXLPj0eQa82S-IYFAA",
            "ver": "2.0",
        },
        user="ana@example.com",
        role="operator",
    ),
    KnownProvider(
        # https://developers.google.com/identity/openid-connect/reference
        "Google",
        "Google",
        0,
        {
            "issuer": "https://accounts.google.com",
            "authorization_endpoint": "https://accounts.google.com/o/oauth2/v2/auth",
            "token_endpoint": "https://oauth2.googleapis.com/token",
            "userinfo_endpoint": "https://openidconnect.googleapis.com/v1/userinfo",
            "revocation_endpoint": "https://oauth2.googleapis.com/revoke",
            "jwks_uri": "https://www.googleapis.com/oauth2/v3/certs",
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "email", "profile"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "claims_supported": ["aud", "email", "email_verified", "exp", "iat", "iss", "name", "picture", "sub"],
        },
        {
            "azp": "1234567890-abc.apps.googleusercontent.com",
            "sub": "10769150350006150715113082367",
            "email": "ana@example.com",
            "email_verified": True,
            "hd": "example.com",
            "name": "Ana Ruiz",
        },
        user="ana@example.com",
        role="admin",
        signs_out=False,
    ),
    KnownProvider(
        # https://developer.okta.com/docs/guides/customize-tokens-groups-claim/: a thin id_token, groups at userinfo
        # https://developer.okta.com/docs/api/openapi/okta-oauth/oauth/tag/OrgAS/
        "Okta",
        "Okta",
        0,
        {
            "issuer": "https://example.okta.com",
            "authorization_endpoint": "https://example.okta.com/oauth2/v1/authorize",
            "token_endpoint": "https://example.okta.com/oauth2/v1/token",
            "userinfo_endpoint": "https://example.okta.com/oauth2/v1/userinfo",
            "jwks_uri": "https://example.okta.com/oauth2/v1/keys",
            "end_session_endpoint": "https://example.okta.com/oauth2/v1/logout",
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "email", "profile", "address", "phone", "offline_access", "groups"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "client_secret_jwt"],
        },
        {
            "sub": "00uixa271s6x7qt8I0h7",
            "ver": 1,
            "jti": "ID.ewMNfSvcpuqyS93OgVeCN3F2LseqROkyYjz7DNb9yhs",
            "amr": ["pwd", "mfa", "kba"],
            "idp": "00oixa26ycdNcX0VT0h7",
            "auth_time": 1574201433,
        },
        user="ana@example.com",
        role="admin",
        userinfo={
            "sub": "00uixa271s6x7qt8I0h7",
            "preferred_username": "ana@example.com",
            "email": "ana@example.com",
            "email_verified": True,
            "groups": ["Everyone", "vtsync-admins"],
        },
        scope_of={"groups": "groups", "email": "email", "preferred_username": "profile"},
    ),
    KnownProvider(
        # https://docs.goauthentik.io/add-secure-apps/providers/oauth2/ and the default scope mappings of its source,
        # blueprints/system/providers-oauth2.yaml: no address is verified
        "authentik",
        "authentik",
        0,
        {
            "issuer": "https://login.example.com/application/o/vtsync/",
            "authorization_endpoint": "https://login.example.com/application/o/authorize/",
            "token_endpoint": "https://login.example.com/application/o/token/",
            "userinfo_endpoint": "https://login.example.com/application/o/userinfo/",
            "end_session_endpoint": "https://login.example.com/application/o/vtsync/end-session/",
            "jwks_uri": "https://login.example.com/application/o/vtsync/jwks/",
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "scopes_supported": ["openid", "email", "profile"],
            "claims_supported": ["sub", "iss", "aud", "exp", "iat", "auth_time", "acr"],
        },
        {
            "sub": "b1946ac92492d2347c6235b4d2611184",
            "acr": "goauthentik.io/providers/oauth2/default",
            "preferred_username": "ana",
            "nickname": "ana",
            "email": "ana@example.com",
            "email_verified": False,
            "groups": ["authentik Admins", "vtsync operators"],
        },
        user="ana",
        role="operator",
        scope_of={"groups": "profile", "email": "email", "preferred_username": "profile"},
    ),
    KnownProvider(
        # https://auth0.com/docs/secure/tokens/json-web-tokens/create-custom-claims
        # https://auth0.com/docs/authenticate/login/logout/log-users-out-of-auth0
        "Auth0",
        "Auth0",
        0,
        {
            "issuer": "https://example.eu.auth0.com/",
            "authorization_endpoint": "https://example.eu.auth0.com/authorize",
            "token_endpoint": "https://example.eu.auth0.com/oauth/token",
            "userinfo_endpoint": "https://example.eu.auth0.com/userinfo",
            "jwks_uri": "https://example.eu.auth0.com/.well-known/jwks.json",
            "end_session_endpoint": "https://example.eu.auth0.com/oidc/logout",
            "id_token_signing_alg_values_supported": ["HS256", "RS256", "PS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "private_key_jwt"],
            "scopes_supported": ["openid", "profile", "offline_access", "name", "nickname", "email", "picture"],
            "claims_supported": ["aud", "auth_time", "email", "email_verified", "exp", "iat", "iss", "nickname", "sub"],
        },
        {
            "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
            "nickname": "ana",
            "name": "ana@example.com",
            "email": "ana@example.com",
            "email_verified": False,
            "sid": "wA7tzs2m6_UsBWUYJYT1sBYW6zCIIvv1",
            "https://texts.example.com/roles": ["texting operator"],
        },
        user="ana",
        role="operator",
    ),
    KnownProvider(
        # https://docs.gitlab.com/integration/openid_connect_provider/
        # The claims of its document: https://gitlab.com/gitlab-org/gitlab/-/issues/428061
        "GitLab",
        "GitLab",
        0,
        {
            "issuer": "https://gitlab.example.com",
            "authorization_endpoint": "https://gitlab.example.com/oauth/authorize",
            "token_endpoint": "https://gitlab.example.com/oauth/token",
            "userinfo_endpoint": "https://gitlab.example.com/oauth/userinfo",
            "jwks_uri": "https://gitlab.example.com/oauth/discovery/keys",
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "claims_supported": ["sub", "auth_time", "name", "nickname", "email", "email_verified", "groups_direct"],
        },
        {
            "sub": "4242",
            "auth_time": 1700000000,
            "email": "ana@example.com",
            "email_verified": True,
            "groups_direct": ["ops/texting"],
        },
        user="ana@example.com",
        role="operator",
        signs_out=False,
    ),
    KnownProvider(
        # https://dexidp.io/docs/configuration/custom-scopes-claims-clients/ and server/handlers.go of its source
        "Dex",
        "Dex",
        0,
        {
            "issuer": "https://login.example.com/dex",
            "authorization_endpoint": "https://login.example.com/dex/auth",
            "token_endpoint": "https://login.example.com/dex/token",
            "jwks_uri": "https://login.example.com/dex/keys",
            "userinfo_endpoint": "https://login.example.com/dex/userinfo",
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "scopes_supported": ["openid", "email", "groups", "profile", "offline_access"],
            "claims_supported": ["iss", "sub", "aud", "iat", "exp", "email", "email_verified", "name", "at_hash"],
        },
        {
            "sub": "CgcyMzQyNzQ5EgZnaXRodWI",
            "email": "ana@example.com",
            "email_verified": True,
            "name": "Ana Ruiz",
            "groups": ["example:texting"],
            "federated_claims": {"connector_id": "github", "user_id": "110272483197731336751"},
        },
        user="ana@example.com",
        role="operator",
        scope_of={"groups": "groups", "email": "email", "federated_claims": "federated:id"},
        signs_out=False,
    ),
]

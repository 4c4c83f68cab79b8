"""The tables `[web.oidc]` and `[web.proxy_sign_in]`: how people sign in to the pages without a password of vtsync."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import timedelta
from ipaddress import IPv4Network
from typing import Annotated, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, ValidatorFunctionWrapHandler, WrapValidator

from config.base import Model
from config.types import Duration, HttpUrl, IpNetwork, Secret, invalid_value, is_loopback, one_or_many
from config.types.base import text_schema

Role: TypeAlias = Literal["viewer", "operator", "admin"]
ClientAuth: TypeAlias = Literal["client_secret_basic", "client_secret_post"]
ROLES: tuple[Role, ...] = get_args(Role)
"""What a person may do in the pages, from the least to the most."""

_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_HEADERS_OF_BROWSERS = frozenset(
    """
    accept accept-encoding accept-language authorization connection content-length content-type cookie forwarded host
    origin referer user-agent x-forwarded-for x-forwarded-host x-forwarded-proto x-real-ip
    """.split()
)
DISCOVERY = "/.well-known/openid-configuration"
"""The path of a provider's discovery document, after its issuer."""
_HOSTS_OF_ENTRA = frozenset(
    ("login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn")
)
_ALL_TENANTS = frozenset(("common", "organizations", "consumers"))
_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")


def _issuer(value: object, check_url: ValidatorFunctionWrapHandler) -> object:
    remedy = "copy the issuer from the provider, exactly as its /.well-known/openid-configuration writes it"
    if not isinstance(value, str) or re.search(r"[?#\s]", value):
        raise invalid_value("is not the address of an issuer", remedy)
    if not value.startswith("https://") and not is_loopback(value):
        raise invalid_value(
            "does not begin with https://, so anybody on the network path could impersonate users", remedy
        )
    if value.endswith(DISCOVERY):
        raise invalid_value("is the address of the discovery document", "write its `issuer`, which is in the document")
    if "{" in value:
        raise invalid_value("has a placeholder", "write the ID of your tenant in its place")
    check_url(value)
    _check_one_tenant(value)
    # As it was written: HttpUrl drops a slash at the end, which is a part of an issuer.
    return value


def is_entra(issuer: str) -> bool:
    """Return whether this is an issuer of Microsoft Entra ID."""
    return urlsplit(issuer).hostname in _HOSTS_OF_ENTRA


def _check_one_tenant(issuer: str) -> None:
    """Refuse the addresses of Microsoft Entra ID that are of no tenant: no token has their issuer."""
    parts = urlsplit(issuer)
    tenant = parts.path.strip("/").partition("/")[0]
    if is_entra(issuer) and tenant in _ALL_TENANTS:
        raise invalid_value(
            f"is for the accounts of all organizations ({tenant}), who would all be let in",
            f'write the ID of your tenant, as in "https://{parts.hostname}/11111111-2222-3333-4444-555555555555/v2.0"',
        )


def _header(value: object) -> object:
    if not isinstance(value, str) or not _HEADER.fullmatch(value):
        raise invalid_value("is not the name of a header", 'write letters, digits and -, such as "X-Forwarded-User"')
    if value.lower() in _HEADERS_OF_BROWSERS:
        raise invalid_value(
            "is a header that browsers or all proxies send", 'name one of its own, such as "Remote-User"'
        )
    return value


def _narrow(networks: tuple[IpNetwork, ...]) -> tuple[IpNetwork, ...]:
    if not networks:
        raise invalid_value("names no proxy", 'write the addresses of your proxies, such as ["127.0.0.1"]')
    for network in networks:
        narrowest = 24 if isinstance(network, IPv4Network) else 64
        if not network.is_private and network.prefixlen < narrowest:
            raise invalid_value(
                f"trusts {network}, from where others could sign in as anybody",
                'write the addresses of your proxies alone, such as ["127.0.0.1"]',
            )
    return networks


def _domain(value: object) -> object:
    text = value.lower() if isinstance(value, str) else ""
    if not _DOMAIN.fullmatch(text):
        raise invalid_value("is not a domain", 'write what follows the @ of an email address, such as "example.com"')
    return text


def _link(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(r"(/|https?://)[!-~]*", value):
        raise invalid_value("is not a link", 'write a path or an address, such as "/oauth2/sign_out"')
    return value


Issuer: TypeAlias = Annotated[HttpUrl, WrapValidator(_issuer), text_schema("^https?://")]
HeaderName: TypeAlias = Annotated[str, BeforeValidator(_header), text_schema(rf"^{_HEADER.pattern}$")]


class RoleMap(Model):
    """What gives a person a role."""

    roles: dict[str, Role] = Field(
        default_factory=dict, description="Which group gives which role. Of several, the highest counts."
    )
    other_role: Role | None = Field(
        None, description="The role of all others who sign in there. If not set, they are refused."
    )

    def role_of(self, groups: Collection[str]) -> Role | None:
        """Return the highest role that these groups give; None if there is none."""
        given = {role for group, role in self.roles.items() if group in groups}
        return max(given, key=ROLES.index) if given else self.other_role


class OidcSignIn(RoleMap):
    """Sign-in to the pages by OpenID Connect. See [openid-connect.md](openid-connect.md)."""

    issuer: Issuer = Field(
        description="The provider's issuer, exactly as it writes it.", examples=["https://login.example.com"]
    )
    client_id: str = Field(description="The client that is registered for vtsync.", min_length=1, max_length=255)
    client_secret: Secret | None = Field(
        None, description="Its secret. If not set: a public client.", examples=[{"env": "OIDC_CLIENT_SECRET"}]
    )
    client_auth: ClientAuth | None = Field(
        None,
        description=(
            "How the client proves itself. If not set: `client_secret_basic`, or `client_secret_post` where the"
            " provider names only that."
        ),
    )
    label: str = Field(
        "single sign-on", min_length=1, max_length=60, description="What the button says after `Sign in with`."
    )
    scopes: Annotated[tuple[str, ...], one_or_many()] = Field(
        ("profile", "email"), description="What is asked for besides `openid`."
    )
    role_claim: str = Field(
        "groups",
        min_length=1,
        description=(
            "The claim whose values are the keys of `roles`. A dot leads into a claim, as in `realm_access.roles`; it"
            " may also be a part of a name."
        ),
        examples=["https://example.com/roles"],
    )
    required_claims: dict[str, str] = Field(
        default_factory=dict,
        description="Claims that must have this value. Their names are written as that of `role_claim`.",
        examples=[{"hd": "example.com"}],
    )
    userinfo: StrictBool = Field(
        False,
        description="Whether claims that the id_token does not have are read from the provider's userinfo endpoint.",
    )
    email_domains: Annotated[tuple[Annotated[str, BeforeValidator(_domain), text_schema()], ...], one_or_many()] = (
        Field(
            (),
            description="The person's verified email address must be in one of these domains.",
            examples=[["example.com"]],
        )
    )
    trust_email: StrictBool = Field(
        False,
        description=(
            "Whether an address also counts if the provider does not say whether it is verified. It never counts if the"
            " provider says that it is not. Set this only if people cannot change their address there."
        ),
    )
    prompt: Literal["login", "select_account", "consent"] | None = Field(
        None, description="What the provider asks the person at each sign-in, although they have a session there."
    )
    max_age: Duration | None = Field(
        None,
        description=(
            "How long ago the person may have signed in at the provider. The id_token must then say when that was"
            " (`auth_time`)."
        ),
        examples=["8h"],
    )
    sign_out_url: Annotated[str, BeforeValidator(_link), text_schema()] | None = Field(
        None,
        description=(
            "Where the provider ends its own session. If not set: its `end_session_endpoint`, if it has one. The page"
            " after signing out links to it."
        ),
        examples=["https://gitlab.com/users/sign_out"],
    )
    session: Duration = Field(
        timedelta(hours=12),
        description="How long a session lasts at most. Then the provider is asked again, also for the role.",
    )


class ProxySignIn(RoleMap):
    """Sign-in to the pages by a header of a proxy. See [pages.md](pages.md#a-proxy-that-signs-people-in)."""

    trusted: Annotated[tuple[IpNetwork, ...], one_or_many(), AfterValidator(_narrow)] = Field(
        description="The addresses from which that proxy connects. The headers of all others are ignored.",
        examples=[["127.0.0.1"]],
    )
    user_header: HeaderName = Field(
        description="The header with the person's name, which the proxy must set or remove in each request.",
        examples=["X-Forwarded-User"],
    )
    groups_header: HeaderName | None = Field(
        None,
        description=("The header with the person's groups. If not set: the keys of `roles` are names of people."),
        examples=["X-Forwarded-Groups"],
    )
    groups_separator: str = Field(",", min_length=1, max_length=1, description="What is between two groups.")
    sign_out_url: Annotated[str, BeforeValidator(_link), text_schema()] | None = Field(
        None,
        description="Where the proxy ends its own session. The page after signing out links to it.",
        examples=["/oauth2/sign_out"],
    )

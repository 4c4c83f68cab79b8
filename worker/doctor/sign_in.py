"""Checks the ways to sign in to the pages: that the provider of `[web.oidc]` can be used, and who is trusted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

from config.models import Settings
from config.sign_in import OidcSignIn, ProxySignIn, is_entra
from worker.core.findings import Finding, FindingCode, ok, problem, warning
from worker.core.text import counted
from worker.identity.claims import beginnings
from worker.identity.metadata import ProviderFailed, ProviderMetadata
from worker.identity.provider import CLIENT_KEYS, OidcProvider

WHAT = "OpenID Connect"
_OBJECT_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
CHANGEABLE = ("preferred_username", "upn", "unique_name", "name", "nickname")
"""Claims that name a person, and that the person or an admin of the provider may change."""


def check_sign_in(settings: Settings) -> Iterator[Finding]:
    """Check each way to sign in other than passwords. The provider is asked for its metadata, and if it knows us."""
    web = settings.web
    if web.oidc is not None:
        yield from _check_oidc(web.oidc, passwords=web.passwords)
    if web.proxy_sign_in is not None:
        yield _describe_proxy(web.proxy_sign_in)


def _check_oidc(oidc: OidcSignIn, *, passwords: bool) -> Iterator[Finding]:
    why = "nobody can sign in to the pages with it" + ("; passwords still work" if passwords else "")
    try:
        with closing(OidcProvider(oidc)) as provider:
            metadata, keys = provider.read()
            is_known = _knows_client(provider)
    except ProviderFailed as error:
        yield problem(
            FindingCode.SIGN_IN_UNUSABLE,
            WHAT,
            str(error),
            why,
            "correct [web.oidc], or wait until the provider can be reached",
        )
        return
    if is_known is False:
        what = "refuses the client" if oidc.client_secret else "refuses the client, which has no client_secret"
        yield problem(FindingCode.SIGN_IN_UNUSABLE, WHAT, f"{oidc.issuer} {what}", why, f"correct {CLIENT_KEYS}")
    else:
        knows = (
            "can be used and knows the client" if is_known else "can be used; whether it knows the client is not known"
        )
        found = f"{oidc.issuer} {knows}; {counted(len(keys.keys), 'key')}"
        yield ok(WHAT, "; ".join([found, *_open(oidc, metadata)]))
    yield from doubts_about(oidc, metadata)


def _knows_client(provider: OidcProvider) -> bool | None:
    try:
        return provider.knows_client()
    except ProviderFailed:
        return None


def _open(oidc: OidcSignIn, metadata: ProviderMetadata) -> Iterator[str]:
    """Yield what only a sign-in will show, and what the provider does not have."""
    if metadata.claims is None or not set(beginnings(oidc.role_claim)) & metadata.claims:
        yield f"it does not say whether it sends the claim {oidc.role_claim}, which a sign-in will show"
    if metadata.end_session_endpoint is None and oidc.sign_out_url is None:
        yield "it names no page that ends its own session"


def doubts_about(oidc: OidcSignIn, metadata: ProviderMetadata) -> Iterator[Finding]:
    """Yield what works perhaps, but not as expected. Pure."""
    unknown = [scope for scope in oidc.scopes if metadata.scopes is not None and scope not in metadata.scopes]
    if unknown:
        names = ", ".join(unknown)
        yield warning(
            FindingCode.SIGN_IN_DOUBTFUL,
            WHAT,
            f"the provider does not name the scope {names}",
            "it may refuse each sign-in (invalid_scope), or send no such claims",
            "correct web.oidc.scopes, or add the scope at the provider",
        )
    if oidc.role_claim in CHANGEABLE:
        yield warning(
            FindingCode.SIGN_IN_DOUBTFUL,
            WHAT,
            f"roles are given by {oidc.role_claim}",
            "who changes that name there, or gets one that is free again, gets the role here",
            "set web.oidc.role_claim to a claim with groups or roles",
        )
    if is_entra(oidc.issuer):
        yield from _doubts_about_entra(oidc)


def _doubts_about_entra(oidc: OidcSignIn) -> Iterator[Finding]:
    names = [group for group in oidc.roles if not _OBJECT_ID.fullmatch(group)]
    if oidc.role_claim == "groups" and names:
        yield warning(
            FindingCode.SIGN_IN_DOUBTFUL,
            WHAT,
            f"web.oidc.roles names {counted(len(names), 'group')} that is no object ID, such as {names[0]}",
            "Microsoft Entra ID sends the object IDs of groups, unless the app registration says otherwise",
            'write the object ID of the group, or give roles by app roles (role_claim = "roles")',
        )
    if (oidc.email_domains or oidc.role_claim == "email") and not oidc.trust_email:
        yield warning(
            FindingCode.SIGN_IN_DOUBTFUL,
            WHAT,
            "email addresses are asked for, and Microsoft Entra ID does not say whether they are verified",
            "no address counts until it does",
            "add the optional claim xms_edov to the app registration, or use app roles",
        )


def _describe_proxy(proxy: ProxySignIn) -> Finding:
    trusted = ", ".join(map(str, proxy.trusted))
    return ok("sign-in by a proxy", f"{trusted} may name people in the header {proxy.user_header}")

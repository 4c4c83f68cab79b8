"""Checks the ways to sign in to the pages: that the provider of `[web.oidc]` can be reached, and who is trusted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from config.models import Settings
from config.sign_in import OidcSignIn, ProxySignIn
from worker.core.findings import Finding, FindingCode, ok, problem
from worker.core.text import counted
from worker.identity.provider import OidcProvider, ProviderFailed


def check_sign_in(settings: Settings) -> Iterator[Finding]:
    """Check each way to sign in other than passwords. The provider's metadata and keys are read."""
    web = settings.web
    if web.oidc is not None:
        yield _check_oidc(web.oidc, passwords=web.passwords)
    if web.proxy_sign_in is not None:
        yield _describe_proxy(web.proxy_sign_in)


def _check_oidc(oidc: OidcSignIn, *, passwords: bool) -> Finding:
    what = "OpenID Connect"
    try:
        with closing(OidcProvider(oidc)) as provider:
            _, keys = provider.read()
    except ProviderFailed as error:
        others = "; passwords still work" if passwords else ""
        do = "correct [web.oidc], or wait until the provider can be reached"
        return problem(
            FindingCode.SIGN_IN_UNUSABLE, what, str(error), f"nobody can sign in to the pages with it{others}", do
        )
    return ok(what, f"{oidc.issuer} can be used, with {counted(len(keys.keys), 'key')}")


def _describe_proxy(proxy: ProxySignIn) -> Finding:
    trusted = ", ".join(map(str, proxy.trusted))
    return ok("sign-in by a proxy", f"{trusted} may name people in the header {proxy.user_header}")

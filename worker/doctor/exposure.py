"""Checks that a credential protects the HTTP API where other machines can reach it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from sqlalchemy import select

from config.models import Settings
from config.url_secrets import MIN_SECRET_LENGTH, is_short
from worker.core.findings import Finding, FindingCode, ok, problem, warning
from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.tables import api_key, web_user

_WHAT_TO_DO = "create a longer one with `openssl rand -hex 24`, then register it again with `vtsync relay register`"


class Unprotected(Exception):
    """The HTTP API would listen beyond this machine without protection. ``found`` says why, ``do`` what to do."""

    def __init__(self, found: str, do: str) -> None:
        super().__init__(f"{found}; {do}")
        self.found, self.do = found, do


def check_web(runtime: Runtime) -> Iterator[Finding]:
    """Check the address that `vtsync web` is configured to listen on."""
    web = runtime.settings.web
    try:
        _require_credential(runtime, web.host)
    except Unprotected as error:
        yield problem(
            FindingCode.WEB_UNPROTECTED,
            "web",
            error.found,
            "anyone who reaches it could send texts in your name",
            error.do,
        )
        return
    if web.public_url is not None and web.public_url.startswith("http://"):
        yield warning(
            FindingCode.UNENCRYPTED,
            "web",
            "web.public_url is http://",
            "keys, numbers and texts travel unencrypted",
            "put a proxy with TLS in front of `vtsync web`, and set web.public_url to its https:// address",
        )
    elif web.public_url is None and not _is_loopback(web.host) and people_sign_in(runtime):
        yield warning(
            FindingCode.UNENCRYPTED,
            "web",
            f"people sign in to its pages at {web.host}, and web.public_url is not set",
            "without TLS, passwords, numbers and texts travel unencrypted; the cookie is not limited to TLS either",
            "put a proxy with TLS in front of `vtsync web`, and set web.public_url to its https:// address",
        )
    else:
        yield ok("web", f"`vtsync web` listens on {web.host}:{web.port}")


def check_relay_secrets(settings: Settings) -> Iterator[Finding]:
    """Check that nobody can guess a Relay secret. Where only this machine can reach the API, a short one is allowed."""
    guessable = "whoever guesses it can report replies and opt-outs that nobody sent"
    if not _is_public(settings, settings.web.host):
        for name in _short_secrets(settings):
            yield warning(
                FindingCode.RELAY_SECRET_SHORT,
                f"account {name}",
                f"relay_secret has fewer than {MIN_SECRET_LENGTH} characters; only this machine can use it so far",
                f"once others can reach `vtsync web`, it refuses to start: {guessable}",
                _WHAT_TO_DO,
            )
        return
    for name in _short_secrets(settings):
        yield problem(
            FindingCode.RELAY_SECRET_SHORT,
            f"account {name}",
            f"relay_secret has fewer than {MIN_SECRET_LENGTH} characters",
            f"`vtsync web` does not start with it: {guessable}",
            _WHAT_TO_DO,
        )


def check_exposure(runtime: Runtime, host: str) -> None:
    """Raise Unprotected unless ``host`` is this machine only, or callers need a credential.

    Behind a proxy the whole internet can guess at the Relay's secret, even if ``host`` is this machine.
    """
    settings = runtime.settings
    short = _short_secrets(settings) if _is_public(settings, host) else []
    if short:
        raise Unprotected(
            f"accounts.{short[0]}.relay_secret has fewer than {MIN_SECRET_LENGTH} characters", _WHAT_TO_DO
        )
    _require_credential(runtime, host)


def _short_secrets(settings: Settings) -> list[str]:
    """Return the accounts whose Relay secret somebody could guess."""
    secrets = {name: account.relay_secret for name, account in settings.accounts.items()}
    return [name for name, secret in secrets.items() if secret is not None and is_short(secret.get_secret_value())]


def _is_public(settings: Settings, host: str) -> bool:
    """Return True if others than this machine can reach the API, directly or through a proxy."""
    public = urlsplit(settings.web.public_url or "").hostname
    return not _is_loopback(host) or (public is not None and not _is_loopback(public))


def _require_credential(runtime: Runtime, host: str) -> None:
    settings = runtime.settings
    if _is_loopback(host):
        return
    relays = any(account.relay_secret is not None for account in settings.accounts.values())
    webhooks = any(connection.webhook_secret is not None for connection in settings.connections.values())
    if not (relays or webhooks or settings.carriers or _has_key(runtime) or people_sign_in(runtime)):
        raise Unprotected(
            f"it would listen on {host}, beyond this machine, and no caller needs a credential",
            "create a key with `vtsync keys create NAME --scope SCOPE`, or a user with `vtsync users create NAME`, set"
            " a relay_secret, or listen on 127.0.0.1",
        )


def _has_key(runtime: Runtime) -> bool:
    with reading(runtime.engine) as connection:
        active = select(api_key.c.id).where(api_key.c.revoked_at.is_(None)).limit(1)
        return connection.execute(active).first() is not None


def people_sign_in(runtime: Runtime) -> bool:
    """Return True if anybody may sign in to the pages: a user, or people whom a provider or a proxy names."""
    web = runtime.settings.web
    if web.oidc is not None or web.proxy_sign_in is not None:
        return True
    with reading(runtime.engine) as connection:
        return connection.execute(select(web_user.c.name).limit(1)).first() is not None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

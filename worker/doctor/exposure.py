"""Whether the HTTP side may listen where it is told to: never beyond this machine without a credential."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from sqlalchemy import select

from worker.runtime import Runtime
from worker.store.db import reading
from worker.store.tables import api_key

WEAKEST_SECRET = 24


class Unprotected(Exception):
    """It would listen beyond this machine, and nothing protects it; the words say what to do."""


def check_exposure(runtime: Runtime, host: str) -> None:
    """Raise Unprotected unless ``host`` is this machine's own or something asks callers for a credential.

    Behind a proxy the Relay's secret is what the world may guess at, wherever this listens.
    """
    settings = runtime.settings
    public = urlsplit(settings.web.public_url or "").hostname
    if _is_loopback(host) and (public is None or _is_loopback(public)):
        return
    weak = [
        name
        for name, account in settings.accounts.items()
        if account.relay_secret is not None and len(account.relay_secret.get_secret_value()) < WEAKEST_SECRET
    ]
    if weak:
        raise Unprotected(
            f"accounts.{weak[0]}.relay_secret has fewer than {WEAKEST_SECRET} characters; make a longer one, such as"
            " `openssl rand -hex 24` prints, and register it again with `vtsync relay register`"
        )
    if _is_loopback(host):
        return
    relays = any(account.relay_secret is not None for account in settings.accounts.values())
    if not (relays or settings.carriers or _has_key(runtime)):
        raise Unprotected(
            f"it would listen on {host}, beyond this machine, and there is no credential that a caller could have;"
            " make a key with `vtsync keys create NAME`, or set a relay_secret, or listen on 127.0.0.1"
        )


def _has_key(runtime: Runtime) -> bool:
    with reading(runtime.engine) as connection:
        active = select(api_key.c.id).where(api_key.c.revoked_at.is_(None)).limit(1)
        return connection.execute(active).first() is not None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

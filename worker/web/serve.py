"""Runs the HTTP side, and refuses to where anybody could use it."""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy import select

from worker.monitoring.tracing import trace_app
from worker.runtime import Runtime, open_runtime
from worker.store.db import reading
from worker.store.tables import api_key

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

KEEP_ALIVE_SECONDS = 20
MOST_CONNECTIONS = 1000
BACKLOG = 512
STOP_SECONDS = 30
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


def serve(runtime: Runtime, host: str, port: int, traces: TracerProvider | None = None) -> None:
    """Listen until SIGTERM; what is being answered is finished. Raises Unprotected, OSError when the port is taken."""
    import uvicorn

    from worker.web.app import create_app
    from worker.web.protocol import BoundedHttp

    check_exposure(runtime, host)
    app = create_app(runtime, open_runtime)
    if traces is not None:
        trace_app(app, traces)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=BoundedHttp,
        ws="none",
        log_config=None,
        access_log=False,  # the Relay's address is a secret; ours names only routes
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        limit_concurrency=MOST_CONNECTIONS,
        backlog=BACKLOG,
        proxy_headers=False,  # the public URL is configured, not believed
    )
    listener = _listen(host, port)
    # Uvicorn raises the signal that ended it once more; ended as asked is no failure.
    signal.signal(signal.SIGTERM, lambda *_: None)
    logging.getLogger("vtsync.web").info("listening on http://%s:%s", *listener.getsockname()[:2])
    uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(BACKLOG)
    return listener


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

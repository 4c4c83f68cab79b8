"""Runs the HTTP API. Refuses to start where anybody could use it without a credential."""

from __future__ import annotations

import logging
import signal
import socket
from typing import TYPE_CHECKING

from worker.doctor.exposure import check_exposure, people_sign_in
from worker.monitoring.tracing import trace_app
from worker.runtime import Runtime, open_runtime
from worker.store.db import STORE_AWAY

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

KEEP_ALIVE_SECONDS = 20
MAX_CONNECTIONS = 1000
BACKLOG = 512
STOP_SECONDS = 30


def serve_api(runtime: Runtime, host: str, port: int, traces: TracerProvider | None = None) -> None:
    """Serve until SIGTERM, then finish running requests. Raises Unprotected, or OSError if the port is taken."""
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
        access_log=False,  # it would contain the Relay's secret; AccessLog writes only routes
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        limit_concurrency=MAX_CONNECTIONS,
        backlog=BACKLOG,
        proxy_headers=False,  # the public URL comes from the configuration, not from callers
    )
    listener = _listen(host, port)
    # Uvicorn raises the signal again after its shutdown; a requested stop must exit with 0.
    signal.signal(signal.SIGTERM, lambda *_: None)
    log = logging.getLogger("vtsync.web")
    log.info("listening on http://%s:%s", *listener.getsockname()[:2])
    log.info(_where_to_sign_in(runtime, *listener.getsockname()[:2]))
    uvicorn.Server(config).run(sockets=[listener])


def _where_to_sign_in(runtime: Runtime, host: str, port: int) -> str:
    """Say where the pages are, and what is missing before anybody can use them."""
    at = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    pages = f"the pages are at {(runtime.settings.web.public_url or at).rstrip('/')}/ui"
    try:
        some = people_sign_in(runtime)
    except STORE_AWAY:  # it is said elsewhere, and the API waits for it
        return pages
    if some:
        return f"{pages}; sign in there"
    return f"{pages}; nobody can sign in yet: `vtsync users create NAME --role admin` creates the first user"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(BACKLOG)
    return listener

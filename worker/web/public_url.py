"""The URL of a request as its caller sees it."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import Request


def called_url(request: Request, public_url: str | None) -> str:
    """Return the URL that was called, which callers sign. Behind a proxy it differs from the URL of the request."""
    if public_url is None:
        url = str(request.url)
        # Older releases of Starlette put any Host header into the URL. No caller signed a URL without a host.
        return url if _has_host(url) else str(request.scope["path"])
    query = f"?{request.url.query}" if request.url.query else ""
    return f"{public_url.rstrip('/')}{request.url.path}{query}"


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False

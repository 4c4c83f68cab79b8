"""The URL of a request as its caller sees it."""

from __future__ import annotations

from fastapi import Request


def called_url(request: Request, public_url: str | None) -> str:
    """Return the URL that was called, which callers sign. Behind a proxy it differs from the URL of the request."""
    if public_url is None:
        return str(request.url)
    query = f"?{request.url.query}" if request.url.query else ""
    return f"{public_url.rstrip('/')}{request.url.path}{query}"

"""Bodies of requests are JSON. A dependency of every route that takes one."""

from __future__ import annotations

from fastapi import Depends, Request

from worker.web.problems import Problem


def only_json(request: Request) -> None:
    """Refuse bodies that are not JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise Problem(415, "unsupported_media_type", "send the body as `Content-Type: application/json`")


ONLY_JSON = [Depends(only_json)]

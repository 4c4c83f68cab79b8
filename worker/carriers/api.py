"""Requests to the carriers' own APIs."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import orjson
import requests
from urllib3.exceptions import HTTPError

from config.integrations import Carrier
from crm_adapters.unreachable import PROXY_LOGIN, explain_unreachable
from worker.carriers.provider import CarrierUnavailable

MAX_BYTES = 8 << 20
MAX_PAGES = 200


def ask(session: requests.Session, url: str, **options: Any) -> Any:
    """GET ``url`` and return its JSON; None for 404.

    Raises CarrierUnavailable, whose message never contains the credentials of the URL.
    """
    try:
        answer = session.get(url, timeout=(5, 20), allow_redirects=False, stream=True, **options)
        body = answer.raw.read(MAX_BYTES + 1, decode_content=True)
    except (requests.RequestException, HTTPError, OSError) as error:
        why = explain_unreachable(error) or type(error).__name__
        raise CarrierUnavailable(f"the carrier cannot be reached: {why}") from None
    if answer.status_code == 404:
        return None
    if answer.status_code == 407:
        raise CarrierUnavailable(f"the carrier cannot be reached: {PROXY_LOGIN}")
    if answer.status_code in (401, 403):
        raise CarrierUnavailable(
            f"the carrier refused the credential (HTTP {answer.status_code}); correct it in the configuration"
        )
    if answer.status_code != 200 or len(body) > MAX_BYTES:
        raise CarrierUnavailable(f"the carrier answered HTTP {answer.status_code}")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise CarrierUnavailable("the carrier's answer is not JSON") from None


def too_many_pages() -> CarrierUnavailable:
    """Return the error for a list with too many pages."""
    return CarrierUnavailable(f"the carrier's list has more than {MAX_PAGES} pages")


def base_url(config: Carrier, default: str) -> str:
    """Return the base URL of the carrier's API: the configured one, else ``default``."""
    base = config.api_url or default
    return base.rstrip("/") if urlsplit(base).scheme else base


def basic_auth(config: Carrier) -> tuple[str, str]:
    """Return account id and token for HTTP basic authentication."""
    return config.account_id or "", config.auth_token.get_secret_value() if config.auth_token else ""


def bearer_auth(config: Carrier) -> dict[str, str]:
    """Return the header with the bearer token."""
    return {"Authorization": f"Bearer {config.auth_token.get_secret_value() if config.auth_token else ''}"}

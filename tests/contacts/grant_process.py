"""Worker processes of their own that renew a credential. Arguments: the store, the token server."""

from __future__ import annotations

import json
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from typing import Any

from config.models import Settings, Store
from worker.contacts.grants import StoredGrant
from worker.core.logs import set_up_logging
from worker.runtime import Runtime

KEY = "mwTGFrV2NcMVfMTfxIh8NBMx9ZZi8dW3O8bSLO2h7gE="


def settings(store_url: str, keys: str = KEY) -> Settings:
    return Settings(store=Store(url=store_url, grant_key=keys))  # type: ignore[arg-type]


def refresh(token_url: str, used: Mapping[str, Any]) -> dict[str, Any]:
    """What an adapter's ``renew`` does."""
    form = {"grant_type": "refresh_token", "refresh_token": used["refresh_token"]}
    request = urllib.request.Request(f"{token_url}/token", urllib.parse.urlencode(form).encode())
    with urllib.request.urlopen(request, timeout=30) as answer:
        values: dict[str, Any] = json.load(answer)
        return values


def renew(store_url: str, token_url: str, ready: Callable[[], object]) -> str:
    """Read the credential, call ``ready``, renew, and return the access token."""
    set_up_logging("error")  # standard output is for the test
    grant = StoredGrant(Runtime(settings(store_url)), "crm")
    before = grant.current()
    assert before is not None
    ready()
    return str(grant.renewed(before, lambda used: refresh(token_url, used))["access_token"])


def renew_with_others(store_url: str, token_url: str, barrier: Barrier, tokens: Queue[str]) -> None:
    """Renew at the same moment as all who wait at the barrier."""
    tokens.put(renew(store_url, token_url, lambda: barrier.wait(60)))


if __name__ == "__main__":
    renew(sys.argv[1], sys.argv[2], lambda: None)

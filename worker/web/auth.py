"""Authentication: every request needs a bearer key with the scope of its route, and has a rate limit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeAlias

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Connection

from worker.messages.acquaintance import accounts_that_know
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.web.context import WebContext
from worker.web.keys import USED_EVERY, Key, Scope, find_key, note_use
from worker.web.problems import Problem

CACHE_SECONDS = 2.0
"""How long a key is cached. A revoked key keeps working for at most this long."""
MOST_CACHED = 10_000

bearer = HTTPBearer(auto_error=False, scheme_name="API key", description="A key made by `vtsync keys create`.")
Given: TypeAlias = HTTPAuthorizationCredentials | None


class Guard:
    """Checks keys against the store, each key at most every two seconds."""

    def __init__(self, context: WebContext) -> None:
        self._context = context
        self._known: dict[str, tuple[float, Key | None]] = {}

    def needs(self, scope: Scope) -> Callable[[Request, Given], Key]:
        """Return a dependency that finds the caller's key and requires ``scope``, which the description names."""

        def key(request: Request, given: Given = Security(bearer, scopes=[scope])) -> Key:  # noqa: B008
            found = self._find(given.credentials if given is not None else "")
            if found is None:
                detail = "send a valid key as `Authorization: Bearer vtk_...`; `vtsync keys create` makes one"
                raise Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
            request.state.key = found.id  # for the log
            self._limit_rate(found)
            require_scope(found, scope)
            return found

        return key

    def _find(self, given: str) -> Key | None:
        if not given:
            return None
        now = time.monotonic()
        until, key = self._known.get(given, (0.0, None))
        if now < until:
            return key
        with reading(self._context.runtime.engine) as connection:
            key = find_key(connection, given)
        if key is not None and (key.last_used_at is None or utcnow() - key.last_used_at >= USED_EVERY):
            with writing(self._context.runtime.engine) as connection:
                note_use(connection, key, utcnow())
        if len(self._known) >= MOST_CACHED:
            self._known.clear()
        if key is not None:  # wrong keys are not cached
            self._known[given] = (now + CACHE_SECONDS, key)
        return key

    def _limit_rate(self, key: Key) -> None:
        runtime = self._context.runtime
        most = runtime.settings.web.requests_per_minute
        wait = runtime.limiter.admit(f"key:{key.id}", most)
        if wait:
            detail = f"this key may make {most} requests a minute (web.requests_per_minute)"
            raise Problem(429, "too_many_requests", detail, headers={"Retry-After": str(math.ceil(wait))})


def require_scope(key: Key, scope: Scope) -> None:
    """Raise the problem 403 unless the key may do this."""
    if key.has(scope):
        return
    detail = f'this key does not have the scope "{scope}"; create one that has'
    if scope in key.scopes:
        detail = f'the scope "{scope}" shows all accounts, and this key is for some; create one for all accounts'
    raise Problem(403, "forbidden", detail)


def require_all_accounts(key: Key, why: str) -> None:
    """Raise the problem 403 if the key is for some accounts only. ``why``: the first half of a sentence."""
    if key.accounts:
        raise Problem(403, "forbidden", f"{why}, and this key is for some accounts; create one for all accounts")


def require_known(connection: Connection, key: Key, phone: str) -> None:
    """Raise the problem 404 where the number is not one of the people of the key's accounts."""
    if key.accounts and not accounts_that_know(connection, phone, key.accounts):
        detail = (
            "the accounts of this key have no contact, text or opt-out with this number; this does not say whether its"
            " owner has opted out, which is checked for every text"
        )
        raise Problem(404, "not_found", detail)


def require_own_number(key: Key, number: str | None, runtime: Runtime) -> None:
    """Raise the problem 403 if ``number`` is the sender of an account that the key may not use."""
    owners = [name for name, account in runtime.settings.accounts.items() if account.from_number == number]
    if owners and not any(map(key.may_use, owners)):
        detail = "from_number belongs to an account that this key cannot use"
        raise Problem(403, "forbidden", detail)


def account_of(key: Key, account: str | None, runtime: Runtime) -> str:
    """Return the account of a request: the one it names, or the only one that the key may use."""
    configured = [name for name in runtime.settings.accounts if key.may_use(name)]
    if account is None and len(configured) == 1:
        return configured[0]
    if account is None:
        detail = f"account is missing; give one of: {', '.join(configured) or 'none'}"
        raise Problem(422, "invalid_request", "the request names no account", errors=[("/account", detail)])
    if not key.may_use(account) or account not in runtime.settings.accounts:
        detail = f'this key cannot use the account "{account}"; it can use: {", ".join(configured) or "none"}'
        raise Problem(403, "forbidden", detail)
    return account

"""``POST /relay/{secret}``: events of VirtualText, stored before they are answered.

VirtualText does not sign its requests or promise to retry them, and may switch off a receiver that answers with errors.
So every request with the right secret is stored, even if it cannot be read, and answered with 200 once it is committed.
"""

from __future__ import annotations

import hmac

import orjson
from fastapi import FastAPI, Request, Response

from config.models import Account, Settings
from worker.inbox.events import Incoming
from worker.inbox.payloads import read_payload
from worker.inbox.relay import relay_numbers
from worker.store.models import utcnow
from worker.web.context import WebContext
from worker.web.problems import Problem
from worker.web.url_secrets import secret_digest


def install(app: FastAPI, context: WebContext) -> None:
    """Add the Relay's route. It is not part of the documented API, because its URL is a secret."""
    known = _Secrets()

    async def relay(request: Request) -> Response:
        """Store one event. A GET, by the platform or a person who tests the URL, is answered with 200."""
        account = _account(known.of(context.runtime.settings), request.path_params["secret"])
        if request.method == "POST":
            secrets = _account_secrets(context.runtime.settings.accounts[account])
            payload = read_payload(await request.body(), request.headers.get("content-type", ""), secrets)
            event = Incoming("relay", account, orjson.dumps(payload).decode(), utcnow(), relay_numbers(payload))
            await context.intake.put(event)
        return Response(status_code=200)

    # A plain route: FastAPI's handling of documented routes would double the cost of a request.
    app.add_route("/relay/{secret}", relay, methods=["POST", "GET"], include_in_schema=False)


def _account_secrets(account: Account) -> list[str]:
    """Return the values that are never stored, whatever field of an event they are in."""
    return [secret.get_secret_value() for secret in (account.token, account.relay_secret) if secret is not None]


class _Secrets:
    """The digests of the settings' Relay secrets, computed once for each change of the settings."""

    def __init__(self) -> None:
        self._settings: Settings | None = None
        self._secrets: list[tuple[bytes, str]] = []

    def of(self, settings: Settings) -> list[tuple[bytes, str]]:
        """Return (digest, account) of each secret. Called only on the event loop."""
        if settings is not self._settings:
            self._settings, self._secrets = settings, _secrets(settings)
        return self._secrets


def _secrets(settings: Settings) -> list[tuple[bytes, str]]:
    return [
        (secret_digest(account.relay_secret.get_secret_value()), name)
        for name, account in settings.accounts.items()
        if account.relay_secret is not None
    ]


def _account(secrets: list[tuple[bytes, str]], secret: str) -> str:
    """Return the account of a secret. All secrets are compared, each in constant time, whichever matches."""
    given = secret_digest(secret)
    matching = [name for digest, name in secrets if hmac.compare_digest(digest, given)]
    if not matching:
        raise Problem(404, "not_found", "There is nothing here.")
    return matching[0]

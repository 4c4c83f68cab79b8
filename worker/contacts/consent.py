"""The consent of a person that a connection may use the CRM (OAuth). `vtsync connect` begins it.

The state of a consent travels in the link, encrypted with ``store.grant_key``. So any process of the fleet can finish
it, whichever the CRM's answer reaches, and nobody can make a link of their own. A link works once, for some minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from sqlalchemy import Connection, select

from config.models import Settings
from crm_adapters.base import AdapterError, SourceInvalid
from crm_adapters.oauth import ConnectsByOAuth, OAuthApp, new_verifier
from crm_adapters.registry import BrokenAdapter, UnknownAdapter, adapter_class
from crm_adapters.services import Values
from worker.contacts.adapters import build_adapter
from worker.contacts.grants import save_grant
from worker.contacts.sealing import GrantCipher
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import crm_grant

CALLBACK_PATH = "/connect/callback"
CONSENT_SECONDS = 15 * 60
_LONGEST_ERROR = 200


class ConsentFailed(AdapterError):
    """A consent did not succeed, and nothing was stored. The text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Consent:
    """A consent that a person can give at ``link``. Afterwards, the CRM sends the browser to ``redirect``."""

    connection: str
    vendor: str
    link: str = field(repr=False)
    redirect: str
    state: str = field(repr=False)


def begin_consent(runtime: Runtime, connection: str, redirect: str) -> Consent:
    """Make the link at which a person agrees.

    Raises SourceInvalid if the connection needs no consent, or if there is no key to encrypt the credential.
    """
    cipher = GrantCipher.of(runtime.settings)
    app = oauth_app(runtime.settings, connection)
    if app is None:
        raise SourceInvalid(
            f'connection "{connection}" needs no consent: its credential is in the configuration; run `vtsync check`'
        )
    verifier = new_verifier()
    with reading(runtime.engine) as db:
        before = _connected_at(db, connection)
    content = {"consent": connection, "redirect": redirect, "verifier": verifier, "before": before}
    state = cipher.encrypt(content).decode()
    return Consent(connection, app.vendor, app.authorize_link(state, redirect, verifier), redirect, state)


def finish_consent(runtime: Runtime, answer: Mapping[str, str]) -> str:
    """Exchange the CRM's answer (``code`` and ``state``) for the credential, store it, and return the connection.

    Raises ConsentFailed, or another AdapterError of the exchange.
    """
    connection, content = _read_state(runtime, answer.get("state", ""))
    if "error" in answer:
        said = _printable(answer.get("error_description") or answer["error"])
        raise ConsentFailed(f'the CRM did not agree ("{said}"); {_again(connection)}')
    if not answer.get("code"):
        raise ConsentFailed(f"the CRM sent no code; {_again(connection)}")
    app = oauth_app(runtime.settings, connection)
    if app is None:
        raise ConsentFailed(f'connection "{connection}" no longer needs a consent; run `vtsync check`')
    with reading(runtime.engine) as db:
        _check_unused(db, connection, content)
    values = app.exchange(answer["code"], content["redirect"], content["verifier"])
    _store(runtime, connection, content, values)
    return connection


def read_answer(pasted: str, consent: Consent) -> dict[str, str]:
    """Read what a person copied: the address to which the browser was sent, or the code alone."""
    pasted = pasted.strip().strip("\"'")
    if "code=" not in pasted and "error=" not in pasted:
        return {"code": pasted, "state": consent.state}
    query = urlsplit(pasted).query or pasted.rpartition("?")[2]
    return {"state": consent.state} | dict(parse_qsl(query))


def oauth_app(settings: Settings, connection: str) -> OAuthApp | None:
    """Return what the connection's adapter needs a consent for; None if it needs none. Raises SourceInvalid."""
    if not issubclass(adapter_class(settings.connections[connection].adapter), ConnectsByOAuth):
        return None
    with closing(build_adapter(settings, connection)) as adapter:
        return adapter.oauth() if isinstance(adapter, ConnectsByOAuth) else None


def needs_consent(settings: Settings, connection: str) -> bool:
    """Return True if the connection's credential comes from a person's consent, not from the configuration."""
    try:
        return oauth_app(settings, connection) is not None
    except (AdapterError, UnknownAdapter, BrokenAdapter):
        return False  # it cannot be built: `vtsync check` says why


def is_connected(runtime: Runtime, consent: Consent) -> bool:
    """Return True once the consent has been given, wherever the CRM's answer arrived."""
    content = GrantCipher.of(runtime.settings).decrypt(consent.state.encode())
    with reading(runtime.engine) as db:
        return content is not None and _connected_at(db, consent.connection) != content["before"]


def _read_state(runtime: Runtime, state: str) -> tuple[str, dict[str, Any]]:
    content = GrantCipher.of(runtime.settings).decrypt(state.encode("utf-8", "replace"), CONSENT_SECONDS)
    if content is None or "consent" not in content:
        raise ConsentFailed(
            f"this link is not from here, or older than {CONSENT_SECONDS // 60} minutes; run `vtsync connect` again"
        )
    connection = str(content["consent"])
    if connection not in runtime.settings.connections:
        raise ConsentFailed(f'there is no connection "{connection}" any longer; nothing was stored')
    return connection, content


def _store(runtime: Runtime, connection: str, content: Mapping[str, Any], values: Values) -> None:
    sealed = GrantCipher.of(runtime.settings).seal(connection, values)
    with writing(runtime.engine) as db:
        _check_unused(db, connection, content)
        save_grant(db, connection, sealed, utcnow())


def _check_unused(db: Connection, connection: str, content: Mapping[str, Any]) -> None:
    if _connected_at(db, connection) != content["before"]:
        raise ConsentFailed(
            f'connection "{connection}" was connected after this link was made, so it does not work any longer;'
            f" if that was not you, {_again(connection)}"
        )


def _connected_at(db: Connection, connection: str) -> str:
    at: datetime | None = db.scalar(select(crm_grant.c.connected_at).where(crm_grant.c.connection == connection))
    return "" if at is None else at.isoformat()


def _again(connection: str) -> str:
    return f"run `vtsync connect {connection}` again"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)[:_LONGEST_ERROR]

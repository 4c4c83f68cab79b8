"""Which connections and triggers a key may see: those of its accounts."""

from __future__ import annotations

from config.models import Settings
from worker.doctor.status import settings_of
from worker.messages.request_problems import unknown_name
from worker.web.keys import Key
from worker.web.problems import Problem


def connections_of(settings: Settings, key: Key) -> list[str]:
    """Return the connections of the key's accounts."""
    return list(settings_of(settings, key.accounts).connections)


def triggers_of(settings: Settings, key: Key) -> list[str]:
    """Return the triggers that watch connections of the key's accounts."""
    return list(settings_of(settings, key.accounts).triggers)


def require_connection(settings: Settings, key: Key, name: str) -> None:
    """Raise the problem 404 unless there is this connection and the key may see it."""
    known = connections_of(settings, key)
    if name not in known:
        raise Problem(404, "not_found", f"the connection {unknown_name(name, known)}")

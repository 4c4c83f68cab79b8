"""Builds the adapter of a connection."""

from __future__ import annotations

from config.models import Settings
from crm_adapters.base import Adapter, Services, SourceInvalid
from worker.contacts.mapping import field_names_of


def build_adapter(settings: Settings, connection: str, services: Services | None = None) -> Adapter:
    """Return the connection's adapter, ready to pull. Raises SourceInvalid when its options do not fit any more.

    Without ``services``, the adapter has ones of its own, in this process.
    """
    from pydantic import ValidationError

    from crm_adapters.registry import adapter_class

    configured = settings.connections[connection]
    cls = adapter_class(configured.adapter)
    try:
        options = settings.adapter_options(connection, cls.Options)
    except ValidationError:
        raise SourceInvalid(
            f'the options of connection "{connection}" do not fit "{configured.adapter}"; run `vtsync check`'
        ) from None
    return cls(options, field_names_of(configured.fields), services=services)


def reading_salt(settings: Settings, connection: str) -> bytes:
    """Return a fingerprint of the rules by which records are read. When it changes, every record is read again."""
    from config.fingerprint import fingerprint

    return fingerprint(settings.connections[connection]).encode()

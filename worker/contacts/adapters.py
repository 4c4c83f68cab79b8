"""Builds the adapter that a connection names."""

from __future__ import annotations

from config.models import Settings
from crm_adapters.base import Adapter, SourceInvalid


def build_adapter(settings: Settings, connection: str) -> Adapter:
    """The connection's adapter, ready to pull. Raises SourceInvalid when its options do not fit any more."""
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
    return cls(options, configured.fields)


def reading_salt(settings: Settings, connection: str) -> bytes:
    """Stands for the rules by which records are read: when they change, every record is looked at again."""
    from config.fingerprint import fingerprint

    return fingerprint(settings.connections[connection]).encode()

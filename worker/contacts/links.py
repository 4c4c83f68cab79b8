"""Where a person finds a record in its CRM."""

from __future__ import annotations

from contextlib import suppress

from crm_adapters.base import Adapter
from worker.contacts.adapters import build_adapter
from worker.contacts.connection_gate import stored_or_new
from worker.contacts.services import engine_services
from worker.runtime import Runtime


class RecordLinks:
    """The addresses of CRM records. Use it as a context manager: it keeps an adapter for each connection."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._adapters: dict[str, Adapter | None] = {}

    def __enter__(self) -> RecordLinks:
        return self

    def __exit__(self, *_: object) -> None:
        for adapter in self._adapters.values():
            with suppress(Exception):  # adapters are third-party code
                if adapter is not None:
                    adapter.close()

    def of(self, connection: str, external_id: str) -> str:
        """Return the record's address; "" if its CRM has none, or if the adapter fails. Makes no request."""
        if connection not in self._adapters:
            self._adapters[connection] = self._open(connection)
        adapter = self._adapters[connection]
        with suppress(Exception):
            return "" if adapter is None else adapter.link(external_id)
        return ""

    def web_address(self, connection: str, external_id: str) -> str:
        """Return the record's address if a browser may follow it, else ""."""
        link = self.of(connection, external_id)
        return link if link.startswith(("https://", "http://")) else ""

    def _open(self, connection: str) -> Adapter | None:
        with suppress(Exception):  # a connection that was removed or is wrong has no links
            memory = stored_or_new(self._runtime.engine, connection)["memory"]
            services = engine_services(self._runtime, connection, memory=memory)
            return build_adapter(self._runtime.settings, connection, services)
        return None

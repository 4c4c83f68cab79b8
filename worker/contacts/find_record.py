"""Finds one record in the CRM, without storing anything: for a record that no sync has read yet."""

from __future__ import annotations

from contextlib import closing

from crm_adapters.base import SourceUnavailable
from worker.contacts.adapters import build_adapter
from worker.contacts.connection_gate import stored_or_new, why_not_now
from worker.contacts.decide import ConnectionRules, PageState, RecordChange, RecordRejection, decide_page
from worker.contacts.reader import PageReader
from worker.contacts.services import engine_services, require_consent
from worker.contacts.shape import watch_shape
from worker.core.progress import Progress
from worker.runtime import Runtime
from worker.store.models import utcnow
from worker.triggers.wanted import wanted_fields


def find_record(
    runtime: Runtime, connection: str, external_id: str, progress: Progress
) -> RecordChange | RecordRejection | None:
    """Read the CRM from the top until the record comes; None: it has no such record.

    Raises AdapterError as a sync would report it. A record that cannot be used is returned as its rejection.
    """
    if reason := why_not_now(runtime.engine, connection, utcnow()):
        raise SourceUnavailable(reason)
    settings, stored = runtime.settings, stored_or_new(runtime.engine, connection)
    wanted = wanted_fields(settings, connection)
    services = engine_services(runtime, connection, wanted, stored["memory"])
    with closing(build_adapter(settings, connection, services)) as adapter:
        require_consent(adapter, connection)
        shape = watch_shape(settings, connection, stored, wanted, adapter, lambda: ())
        reader = PageReader(runtime.engine, settings, connection, adapter, shape, None)
        rules, seen = ConnectionRules.of(settings, connection, shape.keeps), 0
        for page in adapter.pull(None):
            seen += len(page.changes)
            progress(seen, 0)
            read = reader.read(page)
            rejection = next((one for one in read.rejections if one.key == external_id), None)
            if rejection is not None:
                return rejection
            for record in read.records:
                if record.external_id == external_id:
                    decision = decide_page([record], PageState(), rules, utcnow())
                    return next(iter(decision.changes), None) or decision.rejections.get(external_id)
    return None

"""What alerts are about: the findings of `vtsync status` and ``/health/fleet``, and the versions of vendors' APIs."""

from __future__ import annotations

from collections.abc import Iterator

from crm_adapters.registry import BrokenAdapter, UnknownAdapter, adapter_class
from worker.core.findings import Finding
from worker.doctor.credentials import judge_api_version
from worker.doctor.fleet import check_fleet, check_history
from worker.runtime import Runtime
from worker.store.models import utcnow


def check_versions(runtime: Runtime) -> Iterator[Finding]:
    """Judge the versions of the APIs that adapters call. No CRM is asked."""
    for name, connection in runtime.settings.connections.items():
        try:
            version = adapter_class(connection.adapter).api_version
        except (UnknownAdapter, BrokenAdapter):  # `vtsync check` reports it
            continue
        if version is not None:
            yield judge_api_version(f"connection {name}", version, utcnow().date())


def check_work(runtime: Runtime) -> Iterator[Finding]:
    """Check what ``check_fleet`` checks, without counting all messages: alerts are looked for each minute."""
    yield from check_fleet(runtime, brief=True)


SOURCES = (check_work, check_history, check_versions)

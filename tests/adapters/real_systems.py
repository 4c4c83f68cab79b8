"""For tests with a real CRM: an adapter of another package in a real sync, and what each run took."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crm_adapters.testing import ScriptedProxy
from tests.harness import Fleet, fleet


@contextmanager
def with_adapter(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, address: str) -> Iterator[Fleet]:
    """A fleet in which the adapter is an installed package."""
    metadata = folder / f"vtsync_{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vtsync-{name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[vtsync.adapters]\n{name} = {address}\n")
    monkeypatch.syspath_prepend(str(folder))
    with fleet(folder) as running:
        yield running


def synced(running: Fleet, proxy: ScriptedProxy) -> dict[str, int]:
    """Sync, and count what it read and wrote, and its requests to the CRM. ``pytest -s`` shows it."""
    proxy.requests.clear()
    before = proxy.passed
    told = running.json("sync")
    (sync,), (push,) = told["syncs"], told["pushes"]
    took = {name: sync[name] for name in ("seen", "added", "changed", "unchanged", "removed", "rejected")}
    took |= {name: push[name] for name in ("created", "updated")}
    took |= {"requests": len(proxy.requests), "bytes": proxy.passed - before}
    print(took)
    return took

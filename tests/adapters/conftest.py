"""Adapters repeat reads with pauses, which tests do not wait for."""

from __future__ import annotations

import pytest

from crm_adapters.http import api


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "PAUSES", tuple(0.001 for _ in api.PAUSES))

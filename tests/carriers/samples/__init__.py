"""One module a carrier, with the name of its module in worker/carriers/providers.

Each has ``CASES``: an event as the carrier sends it, and the texts that it stands for. Add a row for each new event.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from worker.carriers.provider import CarrierText

TO, FROM = "+12125550123", "+14155550100"
AT = datetime(2026, 3, 1, 10, tzinfo=UTC)

Cases = list[tuple[Any, list[CarrierText]]]

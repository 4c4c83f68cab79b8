from __future__ import annotations

from tests.carriers.samples import FROM, TO, Cases
from worker.carriers.provider import CarrierText

EVENT = {"message_uuid": "v1", "to": "12125550123", "from": "14155550100", "status": "delivered"}

CASES: Cases = [
    (EVENT, [CarrierText("v1", "sent", TO, FROM)]),
    (EVENT | {"status": "submitted"}, [CarrierText("v1", "sent", TO, FROM)]),
    (EVENT | {"status": "rejected"}, [CarrierText("v1", "failed", TO, FROM)]),
    (EVENT | {"status": "undeliverable"}, [CarrierText("v1", "failed", TO, FROM)]),
]

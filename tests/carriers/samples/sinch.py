from __future__ import annotations

from tests.carriers.samples import FROM, TO, Cases
from worker.carriers.provider import CarrierText

EVENT = {"type": "recipient_delivery_report_sms", "batch_id": "s1", "recipient": "+12125550123", "status": "Dispatched"}

CASES: Cases = [
    (EVENT, [CarrierText(f"s1/{TO}", "sent", TO, "")]),
    (EVENT | {"status": "Delivered"}, [CarrierText(f"s1/{TO}", "sent", TO, "")]),
    (EVENT | {"status": "Failed"}, [CarrierText(f"s1/{TO}", "failed", TO, "")]),
    (EVENT | {"status": "Failed", "code": 402}, [CarrierText(f"s1/{TO}", "failed", TO, "", detail="402")]),
    (EVENT | {"status": "Deleted", "code": 406}, [CarrierText(f"s1/{TO}", "failed", TO, "", detail="Deleted")]),
    (EVENT | {"status": "Aborted"}, [CarrierText(f"s1/{TO}", "failed", TO, "")]),
    (EVENT | {"status": "Unknown"}, [CarrierText(f"s1/{TO}", "failed", TO, "")]),
    (
        {"type": "mo_text", "id": "m1", "to": FROM, "from": TO, "body": "hi"},
        [CarrierText("m1", "received", FROM, TO)],
    ),
]

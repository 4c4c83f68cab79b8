from __future__ import annotations

from tests.carriers.samples import FROM, TO, Cases
from worker.carriers.provider import CarrierText

EVENT = {"MessageUUID": "p1", "To": "12125550123", "From": "14155550100", "Status": "sent", "Units": "1"}

CASES: Cases = [
    (EVENT, [CarrierText("p1", "sent", TO, FROM)]),
    (EVENT | {"Status": "queued"}, [CarrierText("p1", "pending", TO, FROM)]),
    (EVENT | {"Status": "failed", "ErrorCode": "200"}, [CarrierText("p1", "failed", TO, FROM, detail="200")]),
    (EVENT | {"Type": "whatsapp"}, [CarrierText("p1", "sent", TO, FROM, channel="WhatsApp")]),
    (EVENT | {"Type": "sms"}, [CarrierText("p1", "sent", TO, FROM)]),
    (EVENT | {"Status": "undelivered", "ErrorCode": "200"}, [CarrierText("p1", "failed", TO, FROM, detail="200")]),
]

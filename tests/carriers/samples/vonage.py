from __future__ import annotations

from tests.carriers.samples import FROM, TO, Cases
from worker.carriers.provider import CarrierText

EVENT = {"message_uuid": "v1", "to": "12125550123", "from": "14155550100", "status": "delivered"}
ERRORS = "https://developer.vonage.com/api-errors/messages"

CASES: Cases = [
    (EVENT, [CarrierText("v1", "sent", TO, FROM)]),
    (EVENT | {"status": "submitted"}, [CarrierText("v1", "sent", TO, FROM)]),
    (EVENT | {"status": "rejected"}, [CarrierText("v1", "failed", TO, FROM)]),
    (EVENT | {"status": "undeliverable"}, [CarrierText("v1", "failed", TO, FROM)]),
    (
        EVENT | {"status": "rejected", "error": {"type": f"{ERRORS}#1240", "title": 1240, "detail": "Illegal Number"}},
        [CarrierText("v1", "failed", TO, FROM, detail="1240")],
    ),
    (
        EVENT | {"status": "rejected", "error": {"error": {"title": 1000}}},
        [CarrierText("v1", "failed", TO, FROM, detail="1000")],
    ),
    (
        {"messageId": "v1", "msisdn": "12125550123", "to": "14155550100", "status": "failed", "err-code": "9"},
        [CarrierText("v1", "failed", TO, FROM, detail="9")],
    ),
    (EVENT | {"channel": "viber_service"}, [CarrierText("v1", "sent", TO, FROM, channel="Viber")]),
    (EVENT | {"channel": "mms"}, [CarrierText("v1", "sent", TO, FROM)]),
    (
        EVENT | {"to": {"type": "whatsapp", "number": "12125550123"}, "from": {"number": "14155550100"}},
        [CarrierText("v1", "sent", TO, FROM, channel="WhatsApp")],
    ),
]

from __future__ import annotations

from tests.carriers.samples import AT, FROM, TO, Cases
from worker.carriers.provider import CarrierText

PAYLOAD = {
    "id": "t1",
    "direction": "outbound",
    "from": {"phone_number": FROM},
    "to": [{"phone_number": TO, "status": "sent"}],
    "text": "Hi",
    "media": [{"url": "https://a.example/1.png"}],
    "sent_at": "2026-03-01T10:00:00.000+00:00",
}
EVENT = {"data": {"event_type": "message.sent", "payload": PAYLOAD}}


def _with_status(event_type: str, status: str) -> object:
    receiver = {"phone_number": TO, "status": status}
    return {"data": {"event_type": event_type, "payload": PAYLOAD | {"to": [receiver], "media": []}}}


CASES: Cases = [
    (EVENT, [CarrierText("t1", "sent", TO, FROM, "Hi", ("https://a.example/1.png",), AT)]),
    (_with_status("message.sent", "queued"), [CarrierText("t1", "sent", TO, FROM, "Hi", (), AT)]),
    (_with_status("message.finalized", "delivered"), [CarrierText("t1", "sent", TO, FROM, "Hi", (), AT)]),
    (_with_status("message.finalized", "delivery_unconfirmed"), [CarrierText("t1", "sent", TO, FROM, "Hi", (), AT)]),
    (_with_status("message.finalized", "sending_failed"), [CarrierText("t1", "failed", TO, FROM, "Hi", (), AT)]),
    (_with_status("message.finalized", "delivery_failed"), [CarrierText("t1", "failed", TO, FROM, "Hi", (), AT)]),
    (_with_status("message.received", ""), [CarrierText("t1", "received", TO, FROM, "Hi", (), AT)]),
]

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
STOPPED = PAYLOAD | {
    "media": [],
    "to": [{"phone_number": TO, "status": "sending_failed"}],
    "errors": [{"code": "40300", "title": "Blocked due to STOP message"}],
}
GROUP = [{"phone_number": number, "status": "sent"} for number in (TO, "+13125550199")]
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
    (
        {"data": {"event_type": "message.finalized", "payload": STOPPED}},
        [CarrierText("t1", "failed", TO, FROM, "Hi", (), AT, "40300")],
    ),
    (
        {"data": {"event_type": "message.sent", "payload": PAYLOAD | {"type": "RCS", "media": []}}},
        [CarrierText("t1", "sent", TO, FROM, "Hi", (), AT, channel="RCS")],
    ),
    (
        {"data": {"event_type": "message.sent", "payload": PAYLOAD | {"type": "MMS", "media": [], "to": GROUP}}},
        [CarrierText(f"t1/{to}", "sent", to, FROM, "Hi", (), AT) for to in (TO, "+13125550199")],
    ),
    (_with_status("message.received", ""), [CarrierText("t1", "received", TO, FROM, "Hi", (), AT)]),
]

from __future__ import annotations

from tests.carriers.samples import AT, FROM, TO, Cases
from worker.carriers.provider import CarrierText

MESSAGE = {"id": "b1", "owner": FROM, "from": FROM, "to": [TO], "direction": "out", "text": "", "media": None}
EVENT = {"type": "message-delivered", "time": "2026-03-01T10:00:00.000Z", "to": TO, "message": MESSAGE}

CASES: Cases = [
    (EVENT, [CarrierText("b1", "sent", TO, FROM, sent_at=AT)]),
    ([EVENT], [CarrierText("b1", "sent", TO, FROM, sent_at=AT)]),
    (
        EVENT | {"message": MESSAGE | {"to": [TO, "+13125550199"]}},
        [CarrierText(f"b1/{TO}", "sent", TO, FROM, sent_at=AT)],
    ),
    (EVENT | {"type": "message-sent"}, [CarrierText("b1", "sent", TO, FROM, sent_at=AT)]),
    (EVENT | {"type": "message-sending"}, [CarrierText("b1", "pending", TO, FROM, sent_at=AT)]),
    (
        EVENT | {"type": "message-failed", "errorCode": 4432},
        [CarrierText("b1", "failed", TO, FROM, sent_at=AT, detail="4432")],
    ),
    *[
        (
            EVENT | {"type": "message-failed", "errorCode": code},
            [CarrierText("b1", "failed", TO, FROM, sent_at=AT, detail=str(code))],
        )
        for code in (4475, 4775)
    ],
    (
        EVENT | {"message": MESSAGE | {"channel": "RBM"}},
        [CarrierText("b1", "sent", TO, FROM, sent_at=AT, channel="RCS")],
    ),
    (EVENT | {"message": MESSAGE | {"channel": "MMS"}}, [CarrierText("b1", "sent", TO, FROM, sent_at=AT)]),
    (EVENT | {"type": "message-received"}, [CarrierText("b1", "received", TO, FROM, sent_at=AT)]),
]

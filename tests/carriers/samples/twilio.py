from __future__ import annotations

from tests.carriers.samples import FROM, TO, Cases
from worker.carriers.provider import CarrierText

EVENT = {"MessageSid": "SM1", "MessageStatus": "sent", "To": TO, "From": FROM, "AccountSid": "AC1", "ApiVersion": "x"}

CASES: Cases = [
    (EVENT, [CarrierText("SM1", "sent", TO, FROM)]),
    (EVENT | {"MessageStatus": "delivered"}, [CarrierText("SM1", "sent", TO, FROM)]),
    (EVENT | {"MessageStatus": "queued"}, [CarrierText("SM1", "pending", TO, FROM)]),
    (EVENT | {"MessageStatus": "partially_delivered"}, [CarrierText("SM1", "pending", TO, FROM)]),
    (
        EVENT | {"MessageStatus": "undelivered", "ErrorCode": "30003"},
        [CarrierText("SM1", "failed", TO, FROM, detail="30003")],
    ),
    (EVENT | {"MessageStatus": "received"}, [CarrierText("SM1", "received", TO, FROM)]),
    (
        EVENT | {"MessageStatus": "failed", "ErrorCode": "21610"},
        [CarrierText("SM1", "failed", TO, FROM, detail="21610")],
    ),
    (
        EVENT | {"To": f"whatsapp:{TO}", "From": f"whatsapp:{FROM}", "ChannelPrefix": "whatsapp"},
        [CarrierText("SM1", "sent", f"whatsapp:{TO}", f"whatsapp:{FROM}", channel="WhatsApp")],
    ),
    (EVENT | {"To": f"rcs:{TO}"}, [CarrierText("SM1", "sent", f"rcs:{TO}", FROM, channel="RCS")]),
    (EVENT | {"To": "messenger:12"}, [CarrierText("SM1", "sent", "messenger:12", FROM, channel="Messenger")]),
    ({"SmsSid": "SM1", "SmsStatus": "sent", "To": TO, "From": FROM}, [CarrierText("SM1", "sent", TO, FROM)]),
]

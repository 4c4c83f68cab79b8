"""What carriers' events say, as their documentation shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.carriers.events import CarrierText, status_of
from worker.carriers.registry import CARRIERS

TO, FROM = "+12125550123", "+14155550100"
TWILIO = {"MessageSid": "SM1", "MessageStatus": "sent", "To": TO, "From": FROM, "AccountSid": "AC1", "ApiVersion": "x"}
TELNYX = {
    "data": {
        "event_type": "message.sent",
        "payload": {
            "id": "t1",
            "direction": "outbound",
            "from": {"phone_number": FROM},
            "to": [{"phone_number": TO, "status": "sent"}],
            "text": "Hi",
            "media": [{"url": "https://a.example/1.png"}],
            "sent_at": "2026-03-01T10:00:00.000+00:00",
        },
    }
}
BANDWIDTH = {
    "type": "message-delivered",
    "time": "2026-03-01T10:00:00.000Z",
    "to": TO,
    "message": {"id": "b1", "owner": FROM, "from": FROM, "to": [TO], "direction": "out", "text": "", "media": None},
}
VONAGE = {"message_uuid": "v1", "to": "12125550123", "from": "14155550100", "status": "delivered"}
PLIVO = {"MessageUUID": "p1", "To": "12125550123", "From": "14155550100", "Status": "sent", "Units": "1"}
SINCH = {"type": "recipient_delivery_report_sms", "batch_id": "s1", "recipient": "+12125550123", "status": "Dispatched"}
AT = datetime(2026, 3, 1, 10, tzinfo=UTC)

CASES: list[tuple[str, Any, list[CarrierText]]] = [
    ("twilio", TWILIO, [CarrierText("SM1", "sent", TO, FROM)]),
    ("twilio", TWILIO | {"MessageStatus": "delivered"}, [CarrierText("SM1", "sent", TO, FROM)]),
    ("twilio", TWILIO | {"MessageStatus": "queued"}, [CarrierText("SM1", "pending", TO, FROM)]),
    (
        "twilio",
        TWILIO | {"MessageStatus": "undelivered", "ErrorCode": "30003"},
        [CarrierText("SM1", "failed", TO, FROM, detail="30003")],
    ),
    ("twilio", TWILIO | {"MessageStatus": "received"}, [CarrierText("SM1", "received", TO, FROM)]),
    ("twilio", {"SmsSid": "SM1", "SmsStatus": "sent", "To": TO, "From": FROM}, [CarrierText("SM1", "sent", TO, FROM)]),
    ("telnyx", TELNYX, [CarrierText("t1", "sent", TO, FROM, "Hi", ("https://a.example/1.png",), AT)]),
    ("bandwidth", BANDWIDTH, [CarrierText("b1", "sent", TO, FROM, sent_at=AT)]),
    ("bandwidth", [BANDWIDTH], [CarrierText("b1", "sent", TO, FROM, sent_at=AT)]),
    (
        "bandwidth",
        BANDWIDTH | {"message": BANDWIDTH["message"] | {"to": [TO, "+13125550199"]}},  # type: ignore[operator]
        [CarrierText(f"b1/{TO}", "sent", TO, FROM, sent_at=AT)],
    ),
    ("vonage", VONAGE, [CarrierText("v1", "sent", TO, FROM)]),
    ("vonage", VONAGE | {"status": "rejected"}, [CarrierText("v1", "failed", TO, FROM)]),
    ("plivo", PLIVO, [CarrierText("p1", "sent", TO, FROM)]),
    ("plivo", PLIVO | {"Status": "queued"}, [CarrierText("p1", "pending", TO, FROM)]),
    ("sinch", SINCH, [CarrierText(f"s1/{TO}", "sent", TO, "")]),
    ("sinch", SINCH | {"status": "Failed"}, [CarrierText(f"s1/{TO}", "failed", TO, "")]),
    (
        "sinch",
        {"type": "mo_text", "id": "m1", "to": FROM, "from": TO, "body": "hi"},
        [CarrierText("m1", "received", FROM, TO)],
    ),
]


@pytest.mark.parametrize(("carrier", "payload", "texts"), CASES)
def test_events(carrier: str, payload: Any, texts: list[CarrierText]) -> None:
    assert CARRIERS[carrier].parse(payload) == texts


@pytest.mark.parametrize("carrier", sorted(CARRIERS))
@pytest.mark.parametrize("payload", [{}, [], None, "words", 7, {"data": None}, {"message": "x"}, [None]])
def test_what_is_no_event_says_so(carrier: str, payload: Any) -> None:
    try:
        assert CARRIERS[carrier].parse(payload) == []
    except ValueError as error:
        assert "there is no" in str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("sent", "sent"),
        ("delivery_unconfirmed", "sent"),
        ("message-failed", "failed"),
        ("sending", "pending"),
        ("?", "other"),
    ],
)
def test_words(word: str, status: str) -> None:
    assert status_of(word) == status


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *TWILIO,
                    *BANDWIDTH,
                    *VONAGE,
                    *PLIVO,
                    *SINCH,
                    "data",
                    "payload",
                    "id",
                    "to",
                    "from",
                    "media",
                    "NumMedia",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=10,
)


@settings(max_examples=200)
@given(st.sampled_from(sorted(CARRIERS)), JSON)
def test_nothing_that_json_can_say_breaks_it(carrier: str, payload: Any) -> None:
    try:
        texts = CARRIERS[carrier].parse(payload)
    except ValueError:
        return
    assert all(text.status in ("sent", "pending", "failed", "received", "other") for text in texts)

"""Metadata of a text: kept, shown, found by, and removed with the text."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, update

from tests.messages.conftest import PAST, Outbox, number
from worker.messages import read_models
from worker.messages.metadata import MOST_BYTES, metadata_json, value_text
from worker.messages.read_models import find_messages
from worker.messages.requests import InvalidRequest, SendRequest
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.store.tables import message, message_event, message_metadata
from worker.upkeep.retention import prune

JOB: dict[str, Any] = {"account": "main", "to": number(0), "message": "hello"}


def found(box: Outbox, **more: Any) -> list[str]:
    return [one.id for one in find_messages(box.runtime, **more)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *(("17", "17"), (17, "17"), (-1, "-1"), (1.5, "1.5"), (1e300, "1e+300"), (2**63, "9223372036854775808")),
        *((True, "true"), (False, "false"), ("true", "true"), ("", ""), ("ü 👍", "ü 👍")),
    ],
)
def test_a_text_is_found_by_each_value(box: Outbox, value: Any, text: str) -> None:
    box.send(metadata={"key": "other"})
    sent = box.send(metadata={"key": value, "more": 1})
    assert found(box, metadata={"key": text}) == [sent]
    assert found(box, metadata={"key": text, "more": "1"}) == [sent]
    assert found(box, metadata={"key": text, "more": "2"}) == []
    assert found(box, metadata={"Key": text}) == []
    (shown,) = find_messages(box.runtime, message_id=sent)
    assert shown.metadata == {"key": value, "more": 1}


@pytest.mark.parametrize("few", [0, 1000], ids=["by the index", "by ids"])
def test_pages_and_other_filters_hold_with_metadata(box: Outbox, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_models, "FEW", few)
    sent = [box.send(number(i), metadata={"campaign": "spring", "even": i % 2 == 0}) for i in range(6)][::-1]
    box.send(metadata={"campaign": "autumn"})
    spring = {"campaign": "spring"}
    assert found(box, metadata=spring) == sent
    assert found(box, metadata=spring, limit=2) == sent[:2]
    assert found(box, metadata=spring, before=sent[1], limit=2) == sent[2:4]
    assert found(box, metadata=spring | {"even": "true"}) == sent[1::2]
    assert found(box, metadata=spring, number=number(3)) == [sent[2]]
    assert found(box, metadata=spring, accounts=("other",)) == []
    assert found(box, metadata=spring, state="held") == []


WRONG: list[tuple[Any, str, bool]] = [
    (17, "metadata must be a JSON object", True),
    ([], "metadata must be a JSON object", True),
    ("a", "metadata must be a JSON object", True),
    ({"a": None}, 'metadata must have text, numbers, true or false as values, and "a" has another one', True),
    ({"a": []}, "metadata must have text, numbers, true or false as values", True),
    ({"a": {"b": 1}}, "metadata must have text, numbers, true or false as values", True),
    ({"a": float("nan")}, "metadata must have text, numbers, true or false as values", True),
    ({"a": float("inf")}, "metadata must have text, numbers, true or false as values", True),
    ({"a": 2**64}, "metadata has a number of more than 64 bits, or half of a surrogate pair; send it as text", False),
    ({"a": "\ud800"}, "metadata has a number of more than 64 bits, or half of a surrogate pair", False),
    ({"\ud800": 1}, "metadata must have keys of 1 to 40 printable characters", False),
    ({"": 1}, "metadata must have keys of 1 to 40 printable characters", False),
    ({"a\n": 1}, "metadata must have keys of 1 to 40 printable characters", False),
]


@pytest.mark.parametrize(("metadata", "sentence", "malformed"), WRONG)
def test_metadata_is_flat_and_small(metadata: Any, sentence: str, malformed: bool) -> None:
    with pytest.raises(InvalidRequest) as error:
        SendRequest.from_call((), JOB | {"metadata": metadata})
    (problem,) = error.value.problems
    assert problem.sentence.startswith(sentence)
    assert (problem.malformed, problem.path[0]) == (malformed, "metadata")


_values = st.text() | st.integers() | st.floats() | st.booleans()


@given(st.dictionaries(st.text(max_size=45), _values, max_size=55))
def test_any_flat_object_is_kept_as_it_is_or_refused_in_words(metadata: dict[str, Any]) -> None:
    try:
        request = SendRequest.parse(JOB | {"metadata": metadata})
    except InvalidRequest as error:
        orjson.dumps([problem.sentence for problem in error.problems])
        return
    stored = metadata_json(request.metadata)
    assert len(stored.encode()) <= MOST_BYTES
    assert orjson.loads(stored) == metadata
    assert all("\x00" not in value_text(one) for one in request.metadata.values())


def test_retention_removes_metadata_and_url_with_the_text(box: Outbox) -> None:
    retention = box.runtime.settings.retention.model_copy(update={"texts": timedelta(days=30), "keys": None})
    box.runtime.settings = box.runtime.settings.model_copy(update={"retention": retention})
    sent = box.send(metadata={"order": 17}, send_at=utcnow() + timedelta(hours=1))
    assert found(box, metadata={"order": "17"}) == [sent]
    box.change(state="cancelled", created_at=PAST, due_at=PAST, callback_url="https://shop.example.com")
    old = f"{0:032x}"
    with writing(box.engine) as connection:
        connection.execute(delete(message_event))
        connection.execute(delete(message_metadata))
        connection.execute(update(message).values(id=old, text=""))
        connection.execute(message_metadata.insert(), {"message_id": old, "key": "order", "value": "17"})
    prune(box.runtime, utcnow())
    with reading(box.engine) as connection:
        assert connection.execute(message_metadata.select()).all() == []
        left = connection.execute(message.select()).one()
    assert (left.metadata, left.callback_url) == ("{}", None)


def test_the_version_before_can_delete_a_text_with_metadata(box: Outbox) -> None:
    box.send(metadata={"order": 17})
    with writing(box.engine) as connection:
        connection.execute(delete(message_event))
        connection.execute(delete(message))
        assert connection.execute(message_metadata.select()).all() == []

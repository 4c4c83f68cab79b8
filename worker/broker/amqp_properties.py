"""Properties of a RabbitMQ message that py-amqp cannot read must not end the worker.

RabbitMQ delivers properties as it received them, whatever bytes they are. py-amqp raises an error while it reads the
connection, so the message goes back into the queue and stops the next worker.
"""

from __future__ import annotations

from typing import Any

from amqp import serialization
from amqp.spec import Basic

from worker.broker.raw_messages import MALFORMED

_read_properties = serialization.PROPERTY_CLASSES[Basic.CLASS_ID]


def _read_any_properties(buffer: Any, offset: int) -> tuple[dict[str, Any], int]:
    try:
        properties, end = _read_properties(buffer, offset)
    except Exception:  # noqa: BLE001 - a decoder can raise anything, and none of it may reach the main loop
        return {"application_headers": {MALFORMED: "its properties are not those of an AMQP message"}}, len(buffer)
    headers = properties.get("application_headers")
    if headers is not None and not isinstance(headers.get("compression", ""), str):
        properties["application_headers"] = {MALFORMED: "the header compression is not a name"}
    return properties, end


def read_any_properties() -> None:
    """Make py-amqp deliver messages with unreadable properties in this process, marked as malformed."""
    serialization.PROPERTY_CLASSES[Basic.CLASS_ID] = _read_any_properties

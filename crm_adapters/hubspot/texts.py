"""Writes texts to the history of HubSpot's records, as communications."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from crm_adapters.base import CrmMessage
from crm_adapters.http import epoch_milliseconds, iso_time, value_at
from crm_adapters.hubspot.objects import HubSpotObjects, V, condition
from crm_adapters.notes import is_note_of, note_of

ASSOCIATION_TYPES = {"contacts": 81, "deals": 85}
"""HubSpot's own types of the association from a communication to a record."""
COMPARED = 100
"""The number of a record's newest texts that are compared with a new one."""
_BODY = "hs_communication_body"


def log_text(source: HubSpotObjects, objects: str, number: str, external_id: str, message: CrmMessage) -> None:
    """Add a text to the record's history, unless it is there."""
    texts = source.texts_of(objects, number, external_id)
    is_there = _has(source.batch("communications", texts[-COMPARED:], [_BODY]), message.id)
    if not is_there and len(texts) > COMPARED:
        # Search for it among the older ones. The search knows those, while it may not know new ones yet.
        about = condition(f"associations.{objects.removesuffix('s')}", "EQ", number)
        at = condition("hs_timestamp", "EQ", epoch_milliseconds(message.at))
        is_there = _has(source.search("communications", [at, about], [_BODY], COMPARED).items("results"), message.id)
    if not is_there:
        body = communication(message, objects, number)
        source.api.write("POST", f"crm/objects/{V}/communications", body, record=external_id)


def communication(message: CrmMessage, objects: str, number: str) -> dict[str, Any]:
    """Return a text as HubSpot creates it in the history of a record."""
    association = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": ASSOCIATION_TYPES[objects]}
    return {
        "properties": {
            "hs_communication_channel_type": "SMS",
            "hs_communication_logged_from": "CRM",
            _BODY: note_of(message, "Received" if message.direction == "in" else "Sent"),
            "hs_timestamp": iso_time(message.at, 3),
        },
        "associations": [{"to": {"id": number}, "types": [association]}],
    }


def _has(communications: Iterable[Any], message_id: str) -> bool:
    return any(is_note_of(value_at(one, f"properties.{_BODY}"), message_id) for one in communications)

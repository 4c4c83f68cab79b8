"""Records of several kinds whose numbers may be the same, such as persons and deals. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from crm_adapters.base import CONTACT, ContactChange, SourceInvalid, UnreadableRecord

DEAL = "deal"


def numbered_id(kind: str, number: object) -> str:
    """Return the external id of a record: ``17`` for a person, ``deal:17`` for a deal."""
    return str(number) if kind == CONTACT else f"{kind}:{number}"


def kind_and_number(external_id: str, kinds: Sequence[str]) -> tuple[str, str]:
    """Return the kind and the number of a record; the number is "" if there cannot be such a record."""
    before, colon, number = external_id.rpartition(":")
    kind = before if colon else CONTACT
    if kind not in kinds or (colon and kind == CONTACT):
        return CONTACT, ""
    return kind, number if is_number(number) else ""


def is_number(value: object) -> bool:
    """Return True if this is the number of a record, as text."""
    return isinstance(value, str) and re.fullmatch(r"[1-9][0-9]{0,18}", value) is not None


def without_id(vendor: str, objects: str, where: str, key: str = "") -> UnreadableRecord:
    """Return an entry of a list that lacks what every record has. ``where`` is its place, ``key`` its external id."""
    return UnreadableRecord(
        key or f"{objects} {where}",
        f"{vendor} sends this record without its id or its fields, so it was not read; run the sync again, and report"
        " it to the maintainers of the adapter if this stays",
        f"{vendor} {objects}, {where}",
    )


def ids_of(changes: Iterable[ContactChange | UnreadableRecord]) -> list[str]:
    """Return the external ids of the live records, for ``ListsIds``. Raises SourceInvalid if one has no id."""
    found = []
    for one in changes:
        if isinstance(one, UnreadableRecord):
            raise SourceInvalid(f"{one.where}: {one.reason}; until then, no record counts as deleted")
        found += [] if one.deleted else [one.external_id]
    return found

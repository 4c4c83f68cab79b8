"""Decides if a consent is on record. Pure.

The ledger has two kinds of statements. What a CRM says counts as long as its record says it. What the person said (by
START, to somebody who entered it, in an imported list) counts until the person opts out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

CRM = "crm"


@dataclass(frozen=True, slots=True)
class ConsentStatement:
    """One row of the ledger, oldest first where there are several. The columns of ``ConsentEvent``."""

    at: datetime
    given_at: datetime | None
    kind: str
    answer: str
    source: str
    account: str
    connection: str | None
    external_id: str | None
    field: str
    words: str
    actor: str

    @property
    def since(self) -> datetime:
        """When it was said, as far as that is known."""
        return self.given_at or self.at

    def __str__(self) -> str:
        """Say it in a few words: ``crm 17, field "sms_consent": "Yes"``."""
        said = f': "{self.words}"' if self.words else ""
        if self.source == CRM:
            return f'{self.connection} {self.external_id}, field "{self.field}"{said}'
        return f"{_SOURCES.get(self.source, self.source)} ({self.actor}){said}"


_SOURCES = {
    "relay": "by text",
    "cli": "entered by hand",
    "page": "entered on a page",
    "http": "through the HTTP API",
    "import": "imported",
}


def consent_at(
    statements: Sequence[ConsentStatement], opt_outs: Iterable[datetime], at: datetime
) -> ConsentStatement | None:
    """Return the consent that was on record at ``at``; None if there was none. ``opt_outs``: when the number opted out.

    Of several, the one that was known last.
    """
    known = [one for one in statements if one.at <= at and one.kind == "consent"]
    withdrawn = [when for when in opt_outs if when <= at]
    latest = {(one.source, one.connection, one.external_id): one for one in known}
    standing = [
        one
        for one in latest.values()
        if one.answer == "yes" and (one.source == CRM or all(when < one.since for when in withdrawn))
    ]
    return max(standing, key=lambda one: one.at, default=None)

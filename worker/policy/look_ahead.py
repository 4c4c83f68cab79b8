"""Says when a text will go if nothing else changes: the decisions of the policy from now on. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from worker.policy.decide import Expire, Go, Hold, PolicyFacts, Suppress, decide

_MOST_HOLDS = 50


@dataclass(frozen=True, slots=True)
class Outlook:
    """When a text will go, as far as that is known now. ``at`` is None if it never goes, or waits for somebody.

    ``code`` and ``reason`` say why ``at`` is not sooner; both are "" for a text that goes when it is due.
    """

    at: datetime | None
    code: str = ""
    reason: str = ""


def look_ahead(facts: PolicyFacts, now: datetime) -> Outlook:
    """Return when the text will go if nothing else changes: the decisions from ``now`` on, one after the other."""
    at, last = now, Outlook(None)
    for _ in range(_MOST_HOLDS):
        match decide(facts, at):
            case Go():
                return Outlook(at, last.code, last.reason)
            case Hold(until=datetime() as until, code=code, reason=reason):
                at = until
                if code != "scheduled":
                    last = Outlook(None, code, reason)
            case Hold(code=code, reason=reason) | Suppress(code=code, reason=reason):
                return Outlook(None, code, reason)
            case Expire(reason=reason):
                return Outlook(None, "expired", last.reason or reason)
    return last

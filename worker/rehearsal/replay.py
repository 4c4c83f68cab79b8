"""Replays texts through the policy in the order of time, in memory. Pure: values in, outcomes out.

``worker.policy.decide`` decides, as it does in the outbox. What the outbox reads from the store (caps, duplicates) is
counted here from the texts that the replay has let go. A text that is held until a known time is decided again then; a
text that waits for a person or an event ends there. The order of texts to one number is not held up separately:
they leave quiet hours at the same time.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from worker.policy.decide import CAP_WINDOW, Expire, FullCap, Go, Hold, PolicyFacts, Suppress, decide

SENT = "sent"


@dataclass(frozen=True, slots=True)
class ReplayedText:
    """A text to replay. ``facts``: everything about it except what earlier texts decide, and when it is due."""

    id: str
    account: str
    to_number: str
    content: int
    """A hash of its text and media."""
    due_at: datetime
    facts: PolicyFacts


@dataclass(frozen=True, slots=True)
class Fate:
    """What became known about a text. ``code``: ``sent``, or why not. ``at``: when. ``held``: codes of its waits."""

    code: str
    at: datetime
    reason: str = ""
    held: tuple[str, ...] = ()


class PolicyReplay:
    """One run over texts. Its memory holds the texts of a day and those that wait, however long the history is."""

    def __init__(self) -> None:
        self._waiting: list[tuple[datetime, int, ReplayedText, tuple[str, ...]]] = []
        self._number = 0
        self._sent: deque[tuple[datetime, ReplayedText]] = deque()
        self._by_number: defaultdict[str, deque[datetime]] = defaultdict(deque)
        self._by_account: defaultdict[str, deque[datetime]] = defaultdict(deque)
        self._last_same: dict[tuple[str, int], tuple[datetime, str]] = {}
        self._window = CAP_WINDOW

    def add(self, text: ReplayedText) -> None:
        """Add a text. Texts are added in the order of their time, and decided about by ``until``."""
        self._look_back(text)
        self._push(text.due_at, text, ())

    def until(self, moment: datetime | None) -> Iterator[tuple[ReplayedText, Fate]]:
        """Decide about everything that is due before ``moment`` (None: about the rest), and yield what ended."""
        while self._waiting and (moment is None or self._waiting[0][0] < moment):
            now, _, text, held = heapq.heappop(self._waiting)
            fate = self._decide(text, now, held)
            if fate is not None:
                yield text, fate

    def note_sent(self, text: ReplayedText, at: datetime) -> None:
        """Note a text that was sent, without deciding about it."""
        self._look_back(text)
        self._sent.append((at, text))
        self._by_number[text.to_number].append(at)
        self._by_account[text.account].append(at)
        self._last_same[text.to_number, text.content] = at, text.id

    def _look_back(self, text: ReplayedText) -> None:
        self._window = max(self._window, text.facts.policy.duplicate_window)

    def _push(self, at: datetime, text: ReplayedText, held: tuple[str, ...]) -> None:
        self._number += 1
        heapq.heappush(self._waiting, (at, self._number, text, held))

    def _decide(self, text: ReplayedText, now: datetime, held: tuple[str, ...]) -> Fate | None:
        self._forget(now)
        facts, earlier, full = text.facts, self._duplicate(text, now), self._full_caps(text, now)
        if earlier or full:
            facts = replace(facts, duplicate_of=earlier, full_caps=full)
        match decision := decide(facts, now):
            case Go():
                self.note_sent(text, now)
                return Fate(SENT, now, held=held)
            case Suppress():
                return Fate(decision.code, now, decision.reason, held)
            case Expire():
                return Fate("expired", now, decision.reason, held)
            case Hold(until=None):
                return Fate(decision.code, now, decision.reason, held)
            case Hold(until=until) if until is not None:
                self._push(until, text, held if held[-1:] == (decision.code,) else (*held, decision.code))
                return None
            case _:
                assert_never(decision)  # type: ignore[arg-type] # mypy does not follow the guard

    def _duplicate(self, text: ReplayedText, now: datetime) -> str:
        at, other = self._last_same.get((text.to_number, text.content), (None, ""))
        return other if at is not None and now - text.facts.policy.duplicate_window < at else ""

    def _full_caps(self, text: ReplayedText, now: datetime) -> tuple[FullCap, ...]:
        caps = (
            ("max_per_contact", text.facts.policy.max_per_contact, self._by_number.get(text.to_number), "this number"),
            ("max_per_account", text.facts.policy.max_per_account, self._by_account.get(text.account), "the account"),
        )
        return tuple(
            FullCap(whom, setting, limit, times[-limit] + CAP_WINDOW)
            for setting, limit, times, whom in caps
            if limit is not None and times and len(times) >= limit and times[-limit] > now - CAP_WINDOW
        )

    def _forget(self, now: datetime) -> None:
        """Forget what no rule looks back to any more."""
        while self._sent and self._sent[0][0] <= now - self._window - timedelta(seconds=1):
            at, text = self._sent.popleft()
            for times in (self._by_number, self._by_account):
                key = text.to_number if times is self._by_number else text.account
                times[key].popleft()
                if not times[key]:
                    del times[key]
            if self._last_same.get((text.to_number, text.content)) == (at, text.id):
                del self._last_same[text.to_number, text.content]

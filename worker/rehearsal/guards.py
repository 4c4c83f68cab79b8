"""Counts how many people and texts a trigger has in a sync and in a day, for the guards of a replay. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from config.policy import Policy
from worker.messages import blast_guard, breaker
from worker.messages.trigger_history import DAY, EARLIER_DAYS, LEAST_DAYS
from worker.policy.decide import BatchState, PolicyFacts

BatchKey = tuple[str, str]
"""A trigger and a sync, or a trigger and a time where there is no sync."""
EarlierDays = tuple[Sequence[int], Sequence[int]]
"""The people and the texts of each day."""


@dataclass
class TriggerLoad:
    """What the texts of triggers add up to. ``add`` them in the order of time; only two days of numbers are kept."""

    people: dict[BatchKey, int] = field(default_factory=dict)
    """People of the trigger in the 24 hours up to the end of the sync, those of the sync included."""
    texts: dict[BatchKey, int] = field(default_factory=dict)
    of_batch: Counter[str] = field(default_factory=Counter)
    """The people of each sync, of all triggers."""
    _batches: dict[str, tuple[set[str], datetime]] = field(default_factory=dict)
    _day: defaultdict[str, deque[tuple[datetime, str]]] = field(default_factory=lambda: defaultdict(deque))
    _numbers: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _by_day: defaultdict[str, dict[date, tuple[int, int]]] = field(default_factory=lambda: defaultdict(dict))
    _today: dict[str, tuple[date, set[str]]] = field(default_factory=dict)
    _earlier: dict[tuple[str, date], EarlierDays | None] = field(default_factory=dict)
    """What ``earlier`` returned since the last ``add``."""

    def add(self, trigger: str, batch: str, number: str, at: datetime) -> None:
        """Count a text."""
        self._earlier.clear()
        day, numbers = self._day[trigger], self._numbers[trigger]
        day.append((at, number))
        numbers[number] += 1
        while day[0][0] <= at - DAY:
            _, gone = day.popleft()
            numbers[gone] -= 1
            if not numbers[gone]:
                del numbers[gone]
        self.people[trigger, batch], self.texts[trigger, batch] = len(numbers), len(day)
        self._count_batch(batch, number, at)
        today, seen = self._today.get(trigger, (at.date(), set()))
        seen = seen if today == at.date() else set()
        seen.add(number)
        self._today[trigger] = at.date(), seen
        self._by_day[trigger][at.date()] = len(seen), self._by_day[trigger].get(at.date(), (0, 0))[1] + 1

    def _count_batch(self, batch: str, number: str, at: datetime) -> None:
        if batch not in self._batches:
            self._batches = {key: one for key, one in self._batches.items() if one[1] > at - DAY}
        numbers, _ = self._batches.get(batch, (set(), at))
        numbers.add(number)
        self._batches[batch] = numbers, at
        self.of_batch[batch] = len(numbers)

    def earlier(self, trigger: str, at: datetime) -> EarlierDays | None:
        """Return (people, texts) on each of the 28 days before the last one; None: the past is too short."""
        key = trigger, at.date()
        if key not in self._earlier:
            self._earlier[key] = self._count_earlier(*key)
        return self._earlier[key]

    def _count_earlier(self, trigger: str, today: date) -> EarlierDays | None:
        by_day: Mapping[date, tuple[int, int]] = self._by_day[trigger]
        days = [by_day[day] for n in range(1, EARLIER_DAYS + 1) if (day := today - timedelta(days=n)) in by_day]
        if len(days) < LEAST_DAYS:
            return None
        return [people for people, _ in days], [count for _, count in days]

    def guarded(self, facts: PolicyFacts, trigger: str, batch: str, at: datetime, *, planned: bool) -> PolicyFacts:
        """Return the facts about a text of a trigger with what the guards say. See ``held``."""
        over_the_day, trips = self.held(trigger, batch, at, facts.policy, planned=planned)
        over_limit = not planned and self.of_batch[batch] > facts.policy.blast_limit
        verdict: BatchState = "over_limit" if over_limit else "none"
        return replace(facts, batch_verdict=verdict, over_the_day=over_the_day, breaker=trips)

    def held(self, trigger: str, batch: str, at: datetime, policy: Policy, *, planned: bool) -> tuple[str, str]:
        """Return (why the blast guard, why the breaker) holds the texts of a trigger in a sync; "" if it does not.

        ``planned``: the texts of a date trigger, which belong to no sync: the breaker guards them from the beginning.
        """
        earlier, key = self.earlier(trigger, at), (trigger, batch)
        over = None
        if not planned:
            people = self.people[key]
            over = blast_guard.over_the_day(trigger, people, policy.blast_limit, earlier[0] if earlier else None)
        first_limit = policy.blast_limit if planned else None
        trips = breaker.trips(self.texts[key], max(earlier[1]) if earlier else None, policy, first_limit)
        return over or "", trips or ""

"""One thread's work: some deliveries for one receiver, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from crm_adapters.base import AdapterError, WritesMessages
from worker.core.logs import working_on
from worker.deliveries import celery_tasks, crm
from worker.deliveries.claims import Delivery
from worker.deliveries.outcome import Again, NotTried, Outcome
from worker.deliveries.webhooks import Sender
from worker.runtime import Runtime

JOB_SECONDS = 60.0
"""No delivery begins later than this, so that all end while their lease lasts."""

Results = list[tuple[Delivery, Outcome]]
Deliver = Callable[[Delivery], Outcome]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """Deliveries for one receiver, in order. Called, it says what became of each; it never raises."""

    runtime: Runtime
    sender: Sender
    deliveries: Sequence[Delivery]

    @property
    def receiver(self) -> str:
        """Whom they are for."""
        return self.deliveries[0].receiver

    def __call__(self) -> Results:
        """Deliver them."""
        kind, _, name = self.receiver.partition(":")
        try:
            return self._to_crm(name) if kind == "crm" else self._to_subscriber(name)
        except Exception as error:  # one receiver's trouble must not end the others' deliveries
            log.exception("deliveries failed", receiver=self.receiver)
            return [(one, Again(f"it failed unexpectedly ({type(error).__name__})")) for one in self.deliveries]

    def _to_subscriber(self, name: str) -> Results:
        subscriber = self.runtime.settings.subscribers[name]

        def deliver(one: Delivery) -> Outcome:
            if subscriber.task is None:
                return self.sender.deliver(subscriber, one.event_id, one.payload)
            return celery_tasks.deliver(subscriber.task, subscriber.queue, one.event_id, one.payload)

        return self._each(deliver)

    def _to_crm(self, connection: str) -> Results:
        try:
            with crm.writer(self.runtime.settings, connection) as adapter:
                return self._each(lambda one: self._write(adapter, connection, one))
        except AdapterError as error:
            return [(delivery, crm.outcome_of(error)) for delivery in self.deliveries]

    def _write(self, adapter: WritesMessages, connection: str, one: Delivery) -> Outcome:
        return crm.deliver(self.runtime, adapter, connection, one.target.split(":", 2)[2], one.event_id, one.payload)

    def _each(self, deliver: Deliver) -> Results:
        """One after the other, while there is time, the receiver answers, and what came before it was taken."""
        until = time.monotonic() + JOB_SECONDS
        results: Results = []
        held: set[str] = set()
        away = False
        for one in self.deliveries:
            late = self.runtime.stop.requested or time.monotonic() > until
            outcome: Outcome = NotTried()
            if not (away or late or one.target in held):
                with working_on(receiver=self.receiver, event_id=one.event_id):
                    outcome = deliver(one)
            results.append((one, outcome))
            if isinstance(outcome, Again | NotTried) and one.target.startswith("crm:"):
                held.add(one.target)
            away = away or (isinstance(outcome, Again) and outcome.away)
        return results

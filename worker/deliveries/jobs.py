"""The work of one thread: some deliveries to one receiver, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from crm_adapters.base import AdapterError, WritesMessages
from worker.core.logs import working_on
from worker.deliveries import crm
from worker.deliveries.alert_channels import tell
from worker.deliveries.celery_tasks import call_task
from worker.deliveries.claims import ClaimedDelivery
from worker.deliveries.outcome import DeliveryOutcome, GaveUp, NotTried, RetryLater
from worker.deliveries.targets import CALLBACK, CHANNEL, Receiver, Target
from worker.deliveries.webhooks import WebhookSender
from worker.runtime import Runtime

JOB_SECONDS = 60.0
"""No delivery of a job starts later than this, so that all of them end before their lease."""

Results = list[tuple[ClaimedDelivery, DeliveryOutcome]]
Deliver = Callable[[ClaimedDelivery], DeliveryOutcome]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DeliveryJob:
    """Deliveries to one receiver, in order. A call makes them and returns the outcome of each; it never raises."""

    runtime: Runtime
    sender: WebhookSender
    deliveries: Sequence[ClaimedDelivery]

    @property
    def receiver(self) -> Receiver:
        """Return the receiver of all of them."""
        return self.deliveries[0].receiver

    def __call__(self) -> Results:
        """Make the deliveries."""
        name = self.receiver.name
        try:
            if self.receiver.kind == CALLBACK:
                return self._each(self._call_back)
            if self.receiver.kind == CHANNEL:
                return self._each(self._tell)
            return self._to_crm(name) if self.receiver.is_crm else self._to_subscriber(name)
        except Exception as error:  # an unexpected failure at one receiver must not stop the others
            log.exception("deliveries failed; they are tried again later", receiver=str(self.receiver))
            return [(one, RetryLater(f"unexpected failure ({type(error).__name__})")) for one in self.deliveries]

    def _to_subscriber(self, name: str) -> Results:
        subscriber = self.runtime.settings.subscribers[name]

        def deliver(one: ClaimedDelivery) -> DeliveryOutcome:
            if subscriber.task is None:
                return self.sender.post(subscriber, one.event_id, one.payload)
            return call_task(subscriber.task, subscriber.queue, one.event_id, one.payload)

        return self._each(deliver)

    def _tell(self, one: ClaimedDelivery) -> DeliveryOutcome:
        channel = self.runtime.settings.alerts.channels[one.receiver.name]
        return tell(channel, self.sender, one.event_id, one.payload)

    def _call_back(self, one: ClaimedDelivery) -> DeliveryOutcome:
        if one.url is None:
            return GaveUp("its url was removed with the text (retention.texts)")
        return self.sender.call_back(self.runtime.settings.callbacks, one.url, one.event_id, one.payload)

    def _to_crm(self, connection: str) -> Results:
        try:
            with crm.open_writer(self.runtime, connection) as adapter:
                return self._each(lambda one: self._write(adapter, one))
        except AdapterError as error:
            return [(one, crm.outcome_of(error)) for one in self.deliveries]

    def _write(self, adapter: WritesMessages, one: ClaimedDelivery) -> DeliveryOutcome:
        return crm.write_event(self.runtime, adapter, one.target, one.event_id, one.payload)

    def _each(self, deliver: Deliver) -> Results:
        """Deliver one after the other until the time is over, the receiver is down or an earlier one has failed.

        A failure holds back later deliveries only to the same CRM record. A subscriber still gets the rest.
        """
        until = time.monotonic() + JOB_SECONDS
        results: Results = []
        held: set[Target] = set()
        is_down = False
        for one in self.deliveries:
            late = self.runtime.stop.requested or time.monotonic() > until
            outcome: DeliveryOutcome = NotTried()
            if not (is_down or late or one.target in held):
                with working_on(receiver=str(self.receiver), event_id=one.event_id):
                    outcome = deliver(one)
            results.append((one, outcome))
            if isinstance(outcome, RetryLater | NotTried) and one.receiver.is_crm:
                held.add(one.target)
            is_down = is_down or (isinstance(outcome, RetryLater) and outcome.is_down)
        return results

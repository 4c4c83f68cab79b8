"""Makes a carrier's event due again once the system that sent the text has reported it.

The events of some carriers do not contain the text. Such an event fails, because only that system knows the content.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, or_, select, update

from config.models import Settings
from worker.core.states import InboxState
from worker.messages.requests import RecordRequest
from worker.store.event_numbers import written_numbers
from worker.store.sql import any_of
from worker.store.tables import inbox_event


def retry_its_event(connection: Connection, settings: Settings, request: RecordRequest, now: datetime) -> None:
    """Let the failed events of this text be processed again, so that nobody has to look at them."""
    names = [
        name
        for name, carrier in settings.carriers.items()
        if (carrier.carrier, carrier.account) == (request.carrier, request.account)
    ]
    if not names or not request.carrier_message_id:
        return
    text_id = request.carrier_message_id.partition("/")[0]  # the rest names one receiver of a group
    e = inbox_event.c
    failed = (e.state == InboxState.FAILED, e.source == "carrier", e.name.in_(names))
    to_them = or_(e.numbers.is_(None), e.numbers.contains(written_numbers(request.to), autoescape=True))
    rows = connection.execute(select(e.id, e.payload).where(*failed, to_them))
    about_it = [row.id for row in rows if text_id in row.payload]
    if about_it:
        again = update(inbox_event).where(*failed, any_of(connection, e.id, about_it))
        connection.execute(again.values(state=InboxState.NEW, attempts=0, due_at=now))

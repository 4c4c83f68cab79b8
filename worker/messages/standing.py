"""What the policy would decide now about a text to a number: local time, quiet hours, obstacles, verdict."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from config.models import Settings
from config.policy_levels import policy_for
from worker.messages.consents import consent_gap
from worker.messages.people import Recipient
from worker.messages.policy_facts import country_problem_of, load_facts, locations_for, quiet_hours_for
from worker.messages.simulation import why_simulated
from worker.policy.decide import RELEASED_BY, Expire, Go, Hold, Suppress, decide
from worker.policy.locations import zone_info
from worker.policy.quiet_hours import next_open
from worker.store.ids import new_message_id


@dataclass(frozen=True, slots=True)
class AccountStanding:
    """The policy's verdict on texts from one account to the number.

    ``clocks``: each time zone that counts with its local time; ``source``: where the zones come from. ``hours``: when
    texts may go, None for any hour. ``opens_at``: now or later; None with ``hours`` set means unknown. ``obstacles``:
    why a text about no record would never be sent. ``verdict``: what happens to a text that is made now.
    ``max_texts``: how many texts the number may get in 24 hours, from all accounts; None for any number. Connections
    and triggers may have rules of their own, which count for their texts.
    """

    account: str
    clocks: tuple[tuple[str, str], ...]
    states: tuple[str, ...]
    source: str
    hours: str | None
    open_now: bool
    opens_at: datetime | None
    obstacles: tuple[str, ...]
    verdict: str
    max_texts: int | None = None


def account_standing(
    connection: Connection, settings: Settings, account: str, phone: str, person: Recipient, now: datetime
) -> AccountStanding:
    """Return how ``account`` may text ``phone`` now."""
    policy = policy_for(settings, account=account)
    quiet = quiet_hours_for(settings, account, phone, person, policy)
    locations = locations_for(settings, account, phone, person) if quiet is None else quiet.locations
    opens_at = now if quiet is None else next_open(quiet.locations, quiet.rules, now)
    consent = person.no_consent(settings, None)
    obstacles = (
        person.do_not_text and f"{person.do_not_text} says not to text this person",
        consent and f"{consent} does not say that this person may be texted",
        consent_gap(connection, settings, phone, person, None, now),
        country_problem_of(settings, account, phone, policy),
    )
    return AccountStanding(
        account=account,
        clocks=tuple((zone, f"{now.astimezone(zone_info(zone)):%a %H:%M}") for zone in locations.zones),
        states=locations.states,
        source=locations.source,
        hours=None if quiet is None else str(quiet.rules),
        open_now=opens_at is not None and opens_at <= now,
        opens_at=opens_at,
        obstacles=tuple(obstacle for obstacle in obstacles if obstacle),
        verdict=_verdict(connection, settings, account, phone, now),
        max_texts=policy.max_per_contact,
    )


def _verdict(connection: Connection, settings: Settings, account: str, phone: str, now: datetime) -> str:
    """Describe what happens to a new text about no record, with contents that nobody has sent before."""
    expires_at = now + policy_for(settings, account=account).expires_after
    row = {"id": new_message_id(), "account": account, "to_number": phone, "text": "", "media": "[]"}
    view = load_facts(connection, row | {"due_at": now, "expires_at": expires_at}, settings, now)
    simulated = why_simulated(phone, settings.accounts[account].only_numbers, test=False)
    match decide(view, now):
        case Go():
            return f"a text is simulated: {simulated}" if simulated else "a text is sent at once"
        case Hold(until=None, code=code, reason=reason):
            return f"a text waits for {RELEASED_BY[code]}: {reason}"
        case Hold(reason=reason):
            return f"a text waits: {reason}"
        case Suppress(reason=reason) | Expire(reason=reason):
            return f"a text is not sent: {reason}"

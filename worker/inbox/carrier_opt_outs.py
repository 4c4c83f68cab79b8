"""Opt-outs that a carrier knows: its error code says that a text was not sent because its receiver had sent STOP."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, exists, select

from config.integrations import Carrier
from worker.carriers.provider import CarrierText, OptOutCode
from worker.carriers.registry import CARRIERS
from worker.core.phones import Phone, mask, parse_phone
from worker.core.states import InboxState
from worker.inbox.events import ClaimedEvent, Handled
from worker.messages.opt_outs import add_opt_out, end_review, open_review, opted_out
from worker.store.tables import opt_out_event


def opt_out_code(config: Carrier, text: CarrierText) -> OptOutCode | None:
    """Return what the carrier's code says about an opt-out of the receiver; None if it says nothing. Pure."""
    return None if text.status == "sent" else CARRIERS[config.carrier].opt_out_codes.get(text.detail)


def apply_opt_out(
    connection: Connection, config: Carrier, event: ClaimedEvent, text: CarrierText, code: OptOutCode, now: datetime
) -> Handled:
    """Opt the receiver out, for all accounts. If the code has another meaning, too, let a person decide."""
    to = parse_phone(text.to_number, "US")
    if not isinstance(to, Phone):
        return Handled(InboxState.FAILED, f"{config.carrier} {text.id}: the receiver is not a phone number")
    report = f"{config.carrier} reports {text.detail}: {code.meaning}"
    if _opted_in_since(connection, to.e164, text.sent_at or event.received_at):
        return Handled(InboxState.IGNORED, f"{report}; the person has opted in since then")
    actor = f"carrier {event.name}"
    if not code.certain:
        if to.e164 in opted_out(connection, [to.e164]):
            return Handled(InboxState.IGNORED, f"{report}; the number has opted out already")
        excerpt = f"({report})"
        open_review(
            *(connection, to.e164), excerpt=excerpt, inbound_id=None, since=now, account=config.account, actor=actor
        )
        reason = f"{report}; texts to {mask(to.e164)} wait until a person decides (`vtsync review`)"
        return Handled(InboxState.DONE, reason)
    end_review(connection, to.e164, why="the carrier reports that the person opted out", actor=actor, now=now)
    new = add_opt_out(
        connection, to.e164, source="carrier", detail=report, now=now, actor=actor, account=config.account
    )
    if not new:
        return Handled(InboxState.IGNORED, f"{report}; the number has opted out already")
    return Handled(InboxState.DONE, f"{report}: {mask(to.e164)} opted out")


def _opted_in_since(connection: Connection, phone: str, at: datetime) -> bool:
    """Return whether the person opted in after the text: events may be late, and lists are read more than once."""
    e = opt_out_event.c
    later = select(e.id).where(e.phone == phone, e.opted_out.is_(False), e.at > at)
    return bool(connection.execute(select(exists(later))).scalar())

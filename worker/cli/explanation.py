"""Prints the result of ``vtsync explain``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias

from worker.cli.common import local_time, say
from worker.cli.message_view import show_message

if TYPE_CHECKING:
    from worker.messages.explain import ContactHistory, Explanation
    from worker.messages.read_models import MessageDetails
    from worker.messages.standing import AccountStanding

WARNING = "yellow"


LinkOf: TypeAlias = Callable[[str, str], str]
"""Returns the address of a CRM record, by connection and external id, or ""."""


def show_explanation(found: Explanation, link_of: LinkOf, short_ids: Mapping[str, str]) -> None:
    """Print everything about one number. ``short_ids``: the short id of each message."""
    say(found.phone, "bold")
    if not found.known:
        say("  nothing is known about this number")
    _show_permission(found)
    _show_policy(found)
    for contact in found.contacts:
        _show_contact(contact, link_of)
    for record in found.rejections:
        say(f"  rejected: {record.connection} {record.key} ({record.where}): {record.reason}", WARNING)
    _show_conversation(found, short_ids)
    for unread in found.unread:
        about = f"the CRM record {unread.connection} {unread.external_id}"
        say(f'  the trigger {unread.trigger} cannot read "{unread.value}" of {about}: {unread.reason}', WARNING)
    for plan in found.planned:
        about = f"CRM record {plan.connection} {plan.external_id}"
        say(f"  at {local_time(plan.at)} the trigger {plan.trigger} makes a text about {about}")


def _show_permission(found: Explanation) -> None:
    """Print opt-outs, reviews and consents, with their proof."""
    from worker.policy.decide import FORGOTTEN, opt_out_reason

    if found.opted_out and found.opted_out.source == FORGOTTEN:
        since = local_time(found.opted_out.since)
        say(f"  forgotten since {since}: no account texts it, and CRM records with it are rejected", WARNING)
    elif found.opted_out:
        since, why = local_time(found.opted_out.since), opt_out_reason(found.opted_out.source)
        say(f"  opted out since {since} ({why}): no account texts it", WARNING)
    for change in found.opt_out_history:
        what = "opted out" if change.opted_out else "opted in again"
        say(f"    {local_time(change.at)}  {what} ({change.source}, {change.actor}): {change.detail}".rstrip(": "))
    for review in found.review_history:
        what = "under review" if review.opened else "review ended"
        say(f"    {local_time(review.at)}  {what} ({review.actor}): {review.detail}")
    for statement in found.consents:
        rule = "" if statement.kind == "consent" else " (do not text)"
        say(f"    {local_time(statement.since)}  consent{rule}: {statement.answer}, by {statement}")


def _show_conversation(found: Explanation, short_ids: Mapping[str, str]) -> None:
    """Print every text, with the consent that was on record, and every reply, in the order of time."""
    from worker.messages.read_models import ReceivedReply

    timed: list[tuple[datetime, MessageDetails | ReceivedReply]] = [(one.created_at, one) for one in found.messages]
    timed += [(one.received_at, one) for one in found.replies]
    for _, one in sorted(timed, key=itemgetter(0)):
        if isinstance(one, ReceivedReply):
            read_as = f", read as {one.keyword.upper()}" if one.keyword else ""
            say(f"  they wrote to {one.account} on {local_time(one.received_at)}{read_as}:", "bold")
            say(f"    “{one.text}”")
            continue
        show_message(one, short_ids[one.id])
        if one.kind == "send":
            say(f"    consent on record then: {found.consent_of.get(one.id) or 'none'}")


def _show_policy(found: Explanation) -> None:
    """Print what is paused, and what the policy says about the number now."""
    for what, pause in found.paused:
        say(f"  the {what} is {pause}", WARNING)
    if found.review_since:
        since = local_time(found.review_since)
        say(f"  its texts have been held since {since}: a person must read its reply, see `vtsync review`", WARNING)
    caps = sorted({one.max_texts for one in found.standings if one.max_texts})
    cap = f" of at most {' or '.join(map(str, caps))}" if caps else ""
    say(f"  texts in the last 24 hours: {found.texts_last_24h}{cap}")
    for standing in found.standings:
        _show_standing(standing)


def _show_standing(standing: AccountStanding) -> None:
    say(f"  texts from the account {standing.account}:")
    say(f"    {standing.verdict}", None if standing.verdict.endswith("at once") else WARNING)
    if standing.hours is None:
        say("    at any hour (quiet_hours is none)")
        return
    clocks = ", ".join(f"{clock} in {zone}" for zone, clock in standing.clocks)
    states = f", state {' or '.join(standing.states)}" if standing.states else ""
    say(f"    {clocks or 'the time zone is not known'}{f' (from {standing.source})' if clocks else ''}{states}")
    if standing.open_now:
        now = "it is not quiet hours now"
    elif standing.opens_at:
        now = f"it is quiet hours now, until {standing.opens_at.astimezone():%Y-%m-%d %H:%M %Z}"
    else:
        now = "texts wait until the time zone is known"
    say(f"    texts are sent from {standing.hours}; {now}")


def _show_contact(contact: ContactHistory, link_of: LinkOf) -> None:
    say(f"  account {contact.account}: {contact.full_name or 'no name'} {contact.email}".rstrip())
    pushed = f", last written {local_time(contact.pushed_at)}" if contact.pushed_at else ""
    where = f"in VirtualText as {contact.virtualtext_id}" if contact.virtualtext_id else "not yet in VirtualText"
    again = f", next attempt {local_time(contact.next_attempt_at)}" if contact.next_attempt_at else ""
    say(f"    {where} ({contact.push_state}{pushed}{again})")
    if contact.last_error:
        say(f"    {contact.last_error}", WARNING)
    for record in contact.records:
        gone = f", deleted {local_time(record.deleted_at)}" if record.deleted_at else ""
        say(f"    CRM record {record.connection} {record.external_id} since {local_time(record.first_seen_at)}{gone}")
        if link := link_of(record.connection, record.external_id):
            say(f"      {link}")
    for at, kind, detail in contact.events:
        say(f"    {local_time(at)}  {kind.replace('_', ' ')}: {detail}")

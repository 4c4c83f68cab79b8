"""The texts of triggers: puts them into the outbox, in the transaction of the page or plan that caused them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from config.models import Settings
from config.policy import Policy
from config.policy_levels import policy_for
from worker.core.states import MessageKind, MessageState
from worker.messages import breaker
from worker.messages.batches import view_of_held
from worker.messages.opt_outs import opted_out
from worker.messages.outbox import insert_new, media_json, payload_hash
from worker.messages.policy_facts import load_facts, state_after
from worker.messages.reentry import allowed_again, for_each_record, intent_key
from worker.messages.transitions import Moved, add_first_events, reason_text
from worker.messages.trigger_pause import lock_trigger
from worker.policy.countries import country_problem
from worker.policy.decide import OptedOut, PolicyFacts, Suppress, decide
from worker.store.ids import new_message_id
from worker.store.models import utcnow
from worker.store.sql import any_of, insert
from worker.store.tables import message
from worker.triggers.segments import count

if TYPE_CHECKING:
    from worker.triggers.evaluate import TextIntent  # which loads the template engine
    from worker.triggers.rules import TextRule


def insert_intents(
    connection: Connection,
    account: str,
    from_number: str,
    batch_id: str,
    intents: Sequence[TextIntent],
    settings: Settings,
    now: datetime,
) -> int:
    """Put the texts of a sync page into the outbox, in the page's own transaction. Return how many are new.

    They are held until ``release_or_hold_batch``. An intent that was stored before (a replayed page) changes nothing.
    """
    if not intents:
        return 0
    intents = for_each_record(connection, account, intents)
    refused = opted_out(connection, {intent.phone for intent in intents})
    policies = _policies(settings, account, intents)
    rows = [
        _intent_row(account, from_number, batch_id, intent, policies[_of(intent)], refused, now) for intent in intents
    ]
    # In one order, so that two transactions that insert the same texts wait and do not deadlock.
    in_order = sorted(rows, key=lambda row: row["idempotency_key"])
    connection.execute(insert(connection, message).on_conflict_do_nothing(), in_order)
    mine = {row["id"]: row for row in rows}
    stored = select(message.c.id).where(any_of(connection, message.c.id, mine))
    new = [mine[found] for found in connection.execute(stored).scalars()]
    for state, reason in {(row["state"], row["reason"]) for row in new}:
        made = [
            Moved(row["id"], 0, account, MessageKind.SEND)
            for row in new
            if (row["state"], row["reason"]) == (state, reason)
        ]
        add_first_events(connection, made, state, reason=reason, actor="sync", now=now)
    return len(new)


def insert_planned(
    connection: Connection, settings: Settings, rule: TextRule, intents: Sequence[TextIntent], now: datetime
) -> int:
    """Put the texts of a date trigger into the outbox, in the caller's transaction. Return how many are new.

    They belong to no sync run, so the breaker guards against a blast, too: a trigger without enough history is held
    above ``blast_limit`` texts in 24 hours, by the limit of each connection. An occurrence that was stored before
    changes nothing.
    """
    rows = []
    lock_trigger(connection, rule.name)
    allowed = [
        intent
        for rehearsed in (False, True)  # what was simulated for one account never counts for another that is live
        for intent in allowed_again(
            *(connection, {rule.name: rule}),
            *([one for one in intents if _in_test_mode(settings, one.connection) == rehearsed], now),
            rehearsed=rehearsed,
        )
    ]
    for intent in allowed:
        account = settings.connections[intent.connection].account
        sender = settings.accounts[account].from_number
        policy = policy_for(settings, account=account, connection=intent.connection, trigger=rule.name)
        row = _intent_row(account, sender, None, intent, policy, {}, now)
        if not intent.problem:
            row |= state_after(decide(load_facts(connection, row, settings, now), now), row["due_at"])
        rows.append(row)
    going = [row for row in rows if row["state"] == MessageState.QUEUED]
    for name in sorted({row["connection"] for row in going}):
        policy, rehearsed = policy_for(settings, connection=name, trigger=rule.name), _in_test_mode(settings, name)
        more = sum(rehearsed or not _in_test_mode(settings, row["connection"]) for row in going)
        reason = breaker.check(
            *(connection, rule.name, policy, now), more=more, first_limit=policy.blast_limit, rehearsed=rehearsed
        )
        for row in going if reason is not None else ():
            if row["connection"] == name:
                row |= state_after(decide(view_of_held(breaker=reason), now), row["due_at"])
    return sum(insert_new(connection, row, "scheduler") for row in rows)


def _in_test_mode(settings: Settings, connection: str) -> bool:
    return settings.accounts[settings.connections[connection].account].mode == "test"


def foresee(
    connection: Connection, settings: Settings, account: str, intents: Sequence[TextIntent]
) -> list[tuple[TextIntent, str]]:
    """For a plan, return the intents that ``insert_intents`` would store.

    Each comes with the reason why it would not be sent, or an empty string.
    """
    refused, now = opted_out(connection, {intent.phone for intent in intents}), utcnow()
    intents = for_each_record(connection, account, intents)
    keys = {intent_key(intent): intent for intent in reversed(intents)}
    known = set(
        connection.scalars(
            select(message.c.idempotency_key).where(
                message.c.account == account,
                message.c.kind == MessageKind.SEND,
                any_of(connection, message.c.idempotency_key, list(keys)),
            )
        )
    )
    new = [intent for intent in intents if intent_key(intent) not in known and keys[intent_key(intent)] is intent]
    own = settings.accounts[account].from_number
    policies = _policies(settings, account, new)
    decisions = [decide(first_facts(intent, refused, None, own, policies[_of(intent)]), now) for intent in new]
    return [
        (intent, intent.problem or (decision.reason if isinstance(decision, Suppress) else ""))
        for intent, decision in zip(new, decisions, strict=True)
    ]


def first_facts(
    intent: TextIntent, refused: dict[str, OptedOut], expires_at: datetime | None, own_number: str, policy: Policy
) -> PolicyFacts:
    """Return what is known about a text during a sync: its number, its record and the opt-outs.

    The rest is checked on sending.
    """
    return PolicyFacts(
        kind=MessageKind.SEND,
        expires_at=expires_at,
        opted_out=refused.get(intent.phone),
        batch_verdict="open",
        to_number=intent.phone,
        do_not_text=intent.do_not_text,
        no_consent=intent.no_consent,
        consent_missing=intent.consent_missing,
        country=country_problem(intent.phone, own_number, policy),
        policy=policy,
    )


def _of(intent: TextIntent) -> tuple[str, str]:
    return intent.connection, intent.trigger


def _policies(settings: Settings, account: str, intents: Sequence[TextIntent]) -> dict[tuple[str, str], Policy]:
    """Return the policies of the intents, by connection and trigger."""
    return {
        (connection, trigger): policy_for(settings, account=account, connection=connection, trigger=trigger)
        for connection, trigger in {_of(intent) for intent in intents}
    }


def _intent_row(
    account: str,
    from_number: str,
    batch_id: str | None,
    intent: TextIntent,
    policy: Policy,
    refused: dict[str, OptedOut],
    now: datetime,
) -> dict[str, Any]:
    due_at = (intent.called_for_at or now) + (intent.delay or timedelta(0))
    expires_at = due_at + (intent.expires_after or policy.expires_after)
    sender, media = intent.from_number or from_number, media_json(intent.media)
    if intent.problem:
        reason = reason_text("template", intent.problem)
        state: dict[str, Any] = {"state": MessageState.SUPPRESSED, "reason": reason, "due_at": due_at}
    else:
        view = first_facts(intent, refused, expires_at, from_number, policy)
        state = state_after(decide(view, now), due_at)
    return {
        "id": new_message_id(),
        "account": account,
        "kind": MessageKind.SEND,
        "to_number": intent.phone,
        "from_number": sender,
        "text": intent.text,
        "media": media,
        "segments": count(intent.text).segments,
        "contact_id": intent.contact_id,
        "source": "trigger",
        "trigger": intent.trigger,
        "connection": intent.connection,
        "external_id": intent.external_id,
        "batch_id": batch_id,
        "idempotency_key": intent_key(intent),
        "payload_hash": payload_hash(intent.phone, sender, intent.text, media),
        "created_at": now,
        "expires_at": expires_at,
        "attempts": 0,
        "urgent": intent.urgent,
        **state,
    }

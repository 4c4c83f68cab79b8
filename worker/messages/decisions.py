"""Decisions of people about messages: approve, cancel, resolve, retry. Each is conditional and names its actor."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

from sqlalchemy import ColumnElement, Connection, and_, case, literal, not_, or_, select

from config.models import Account, Settings
from config.models import Connection as ConnectionSettings
from config.triggers import TriggerOptions
from worker.core.shown import require_as_shown
from worker.core.states import MessageState, PauseKind
from worker.messages.acquaintance import accounts_that_know
from worker.messages.consents import add_consent
from worker.messages.forgotten import let_back
from worker.messages.holds import not_before
from worker.messages.opt_outs import add_opt_out, end_review, open_reviews, opted_out, remove_opt_out
from worker.messages.states import Ground
from worker.messages.transitions import Moved, has_reason, move, reason_code, reason_text
from worker.messages.trigger_pause import APPROVABLE
from worker.runtime import Runtime
from worker.store.db import writing
from worker.store.models import utcnow
from worker.store.pauses import is_paused
from worker.store.sql import any_of
from worker.store.tables import message, message_event


class NothingChosen(ValueError):
    """No batch, message or trigger was named, which would decide about everything."""


class WrongState(ValueError):
    """The message is not in a state that allows this decision."""


DecisionAboutMany: TypeAlias = Literal["approve", "cancel"]
Verdict: TypeAlias = Literal["sent", "resend", "drop"]
Decision: TypeAlias = Literal["approve", "cancel", "retry", "sent", "resend", "drop"]
CODES: Mapping[Decision, str] = {
    "approve": "approved",
    "cancel": "cancelled",
    "retry": "retry",
    "sent": "resolved",
    "resend": "resend",
    "drop": "dropped",
}
"""The code of the reason that each decision gives a message."""
_OF_UNKNOWN = "only an unknown one can be resolved"
_ALLOWED: Mapping[Decision, str] = {
    "approve": "only a held text that waits for an approval, and whose trigger is not paused, can be approved",
    "cancel": "only a message that waits can be cancelled",
    "retry": "only a rejected or failed one whose text is still stored can be tried again",
    "sent": _OF_UNKNOWN,
    "resend": _OF_UNKNOWN,
    "drop": _OF_UNKNOWN,
}


def why_not(decision: Decision, state: str, reason: str) -> str:
    """Say what state a message is in, and in which one this decision is possible. Pure."""
    return f"the message is {state}{f' ({reason})' if reason else ''}; {_ALLOWED[decision]}"


def touched_by(decision: DecisionAboutMany, codes: Collection[str] = APPROVABLE) -> list[ColumnElement[bool]]:
    """Return the conditions for the messages that this decision touches. ``codes``: see ``approve``."""
    m = message.c
    if decision == "approve":
        waits = (m.state == MessageState.HELD, or_(*map(has_reason, codes)))
        return [*waits, not_(is_paused(PauseKind.TRIGGER, m.trigger))]
    return [m.state.in_((MessageState.HELD, MessageState.QUEUED))]


def reached(accounts: Collection[str], test: bool | None) -> list[ColumnElement[bool]]:
    """Return the conditions for messages of ``accounts`` (empty: all), of test keys or of others (None: both)."""
    mine = [message.c.account.in_(accounts)] if accounts else []
    return [*mine, *([] if test is None else [message.c.test == test])]


def was_decided(connection: Connection, message_ids: Collection[str], decision: Decision) -> set[str]:
    """Return those of the messages about which a person took this decision last, so that it need not be repeated.

    A rejected, failed or unknown one is open again, whatever was decided before.
    """
    e = message_event.c
    of_these = any_of(connection, e.message_id, message_ids)
    events = select(e.message_id, e.to_state, e.reason).where(of_these).order_by(e.id)
    last: dict[str, str] = {}
    states: dict[str, str] = {}
    for message_id, state, reason in connection.execute(events):
        states[message_id] = state
        if reason_code(reason) in CODES.values():
            last[message_id] = reason_code(reason)
    is_open = (MessageState.REJECTED, MessageState.FAILED, MessageState.UNKNOWN)
    return {
        one
        for one, state in states.items()
        if (last.get(one) == CODES[decision] and state not in is_open)
        or (decision == "cancel" and state == MessageState.CANCELLED)
    }


def approve(
    runtime: Runtime,
    *,
    batch_id: str | None = None,
    message_ids: Collection[str] | None = None,
    trigger: str | None = None,
    codes: Collection[str] = APPROVABLE,
    accounts: Collection[str] = (),
    test: bool | None = None,
    shown: int | None = None,
    until: str | None = None,
    actor: str,
) -> int:
    """Release held texts that wait for approval, from a large sync or a trigger that was stopped. Returns how many.

    Later texts of the same batch or trigger are not approved with them. Before each text is sent, the policy decides
    again, without the blast guard and the breaker. Texts of a trigger that is paused stay held.

    ``codes``: only texts that are held for these reasons. ``accounts`` and ``test``: see ``reached``. ``shown``: how
    many the person was shown; where more match, none is released. ``until``: the newest id that they were shown, so
    that a repetition releases nothing new. Raises NotAsShown.
    """
    now = utcnow()
    with writing(runtime.engine) as connection:
        chosen = [*_chosen(connection, batch_id, message_ids, trigger, until), *reached(accounts, test)]
        reason = reason_text(CODES["approve"], f"by {actor}")
        released = move(
            connection,
            MessageState.HELD,
            MessageState.QUEUED,
            *chosen,
            *touched_by("approve", codes),
            ground=Ground.PERSON,
            reason=reason,
            actor=actor,
            now=now,
            due_at=not_before(now),
            approved_at=now,
        )
        require_as_shown(len(released), shown, "text")
    return len(released)


def cancel(
    runtime: Runtime,
    *,
    batch_id: str | None = None,
    message_ids: Collection[str] | None = None,
    trigger: str | None = None,
    codes: Collection[str] = (),
    accounts: Collection[str] = (),
    test: bool | None = None,
    shown: int | None = None,
    until: str | None = None,
    actor: str,
) -> int:
    """Cancel messages that were not started. Returns how many.

    ``codes``: only texts that are held for these reasons; empty: all that wait. Further arguments: see ``approve``.
    """
    now = utcnow()
    cancelled: list[Moved] = []
    with writing(runtime.engine) as connection:
        chosen = [*_chosen(connection, batch_id, message_ids, trigger, until), *reached(accounts, test)]
        if codes:
            chosen.append(or_(*map(has_reason, codes)))
        for before in (MessageState.HELD,) if codes else (MessageState.HELD, MessageState.QUEUED):
            cancelled += move(
                connection,
                before,
                MessageState.CANCELLED,
                *chosen,
                ground=Ground.PERSON,
                reason=reason_text(CODES["cancel"], f"by {actor}"),
                actor=actor,
                now=now,
            )
        require_as_shown(len(cancelled), shown, "text")
    return len(cancelled)


def resolve(
    runtime: Runtime,
    message_id: str,
    verdict: Verdict,
    actor: str,
    *,
    accounts: Collection[str] = (),
    test: bool | None = None,
    attempts: int | None = None,
) -> None:
    """Resolve an unknown message after a look at the conversation: it was sent, or send it again, or drop it.

    Raises WrongState when it is not unknown (any more), LookupError when there is no such message. ``accounts`` and
    ``test``: see ``reached``. ``attempts``: after how many attempts the person has looked; a repeated request must not
    resolve the outcome of a later one.
    """
    now = utcnow()
    this = and_(message.c.id == message_id, *reached(accounts, test))
    values: dict[str, Any] = {}
    with writing(runtime.engine) as connection:
        if verdict == "sent":
            after = MessageState.CONFIRMED
            reason = reason_text(CODES[verdict], f"{actor} found it in the conversation")
        elif verdict == "drop":
            after = MessageState.CANCELLED
            reason = reason_text(CODES[verdict], f"{actor} did not find it in the conversation and no longer wants it")
        else:
            after, values = MessageState.QUEUED, _due_again(runtime, now)
            reason = reason_text(CODES[verdict], f"{actor} asked to send it again")
        moved = move(
            connection,
            MessageState.UNKNOWN,
            after,
            this if attempts is None else and_(this, message.c.attempts == attempts),
            ground=Ground.PERSON,
            reason=reason,
            actor=actor,
            now=now,
            **values,
        )
        # Read afterwards, because the move waits for a transaction that resolves the same message.
        state = connection.scalar(select(message.c.state).where(this))
    if state is None:
        raise LookupError(f"there is no message {message_id}; `vtsync messages` lists them")
    if not moved:
        raise WrongState(f"message {message_id} is {state}; {_OF_UNKNOWN}")


def retry(
    runtime: Runtime,
    message_ids: Collection[str],
    actor: str,
    *,
    accounts: Collection[str] = (),
    test: bool | None = None,
) -> int:
    """Try rejected and failed messages again. Returns how many; all others stay as they are.

    Messages whose text was pruned stay, too, because there is nothing to send. ``accounts`` and ``test``: see
    ``reached``.
    """
    now = utcnow()
    again: list[Moved] = []
    with writing(runtime.engine) as connection:
        chosen = and_(any_of(connection, message.c.id, message_ids), *reached(accounts, test))
        not_pruned = or_(message.c.text != "", message.c.media != "[]")
        for before in (MessageState.REJECTED, MessageState.FAILED):
            reason = reason_text(CODES["retry"], f"{actor} asked to try it again")
            values = _due_again(runtime, now)
            again += move(
                connection,
                before,
                MessageState.QUEUED,
                chosen,
                not_pruned,
                ground=Ground.PERSON,
                reason=reason,
                actor=actor,
                now=now,
                **values,
            )
    return len(again)


class OthersReply(ValueError):
    """The person wrote to another account, too, since the review began, so its people must read the reply."""


class NotUnderReview(LookupError):
    """No reply of the number waits for a decision (any more)."""

    def __init__(self, phone: str) -> None:
        super().__init__(f"{phone} is not under review; `vtsync review` lists the numbers that are")


class ReplyNotAsShown(ValueError):
    """The person wrote again since the reply that was shown. Nothing was decided."""


ReviewVerdict: TypeAlias = Literal["continue", "opt_out"]


def decide_review(
    runtime: Runtime,
    phone: str,
    verdict: ReviewVerdict,
    actor: str,
    *,
    last_at: datetime | None = None,
    source: str = "cli",
    only_of: Collection[str] = (),
) -> int:
    """Decide what a person's reply meant: continue texting, or stop. Returns how many texts are released.

    They are released in both cases: after ``opt_out`` the policy suppresses each with its reason. ``last_at``: of the
    review as the person was shown it, required to continue. ``source`` is kept with the opt-out (``cli``, ``http``).
    ``only_of``: only if all replies were written to these accounts; empty: to any. To stop, it is enough that they know
    the number whose replies went to several accounts.

    Raises NotUnderReview, ReplyNotAsShown and OthersReply.
    """
    goes_on = verdict == "continue"
    if goes_on and last_at is None:
        raise ValueError("to continue needs the time of the reply that was read")
    now = utcnow()
    with writing(runtime.engine) as connection:
        owners = list(only_of)
        if only_of and not goes_on and accounts_that_know(connection, phone, only_of):
            owners.append("")
        why, shown = review_outcome(verdict, actor), last_at if goes_on else None
        ended = end_review(connection, phone, why=why, actor=actor, now=now, only_of=owners, last_at=shown)
        if ended is None:
            raise _why_none_ended(connection, phone, only_of)
        if not goes_on:
            # What was written to several accounts is not quoted to the people of one.
            quoted = ended.excerpt and (ended.account or not only_of)
            detail = f'read as an opt-out: "{ended.excerpt}"' if quoted else "read as an opt-out"
            account = ended.account if only_of else ""
            add_opt_out(connection, phone, source=source, detail=detail, now=now, actor=actor, account=account)
    return ended.released


def review_outcome(verdict: ReviewVerdict, actor: str) -> str:
    """Say in the proof of a review how it ended. Pure."""
    return f"{actor} read the reply: {'continue texting' if verdict == 'continue' else 'opted out'}"


def _why_none_ended(connection: Connection, phone: str, accounts: Collection[str]) -> ValueError | LookupError:
    """Return why the review of ``phone`` was not ended for ``accounts`` (empty: all)."""
    if open_reviews(connection, accounts, [phone]):
        return ReplyNotAsShown(f"{phone} wrote again after the reply that you were shown; nothing was decided")
    if accounts and open_reviews(connection, [""], [phone]) and accounts_that_know(connection, phone, accounts):
        return OthersReply(
            "this person wrote such a reply to another account, too; decide with a key for all of these accounts, or"
            " with `vtsync review`"
        )
    return NotUnderReview(phone)


def opt_out_number(
    runtime: Runtime, phone: str, *, source: str, detail: str, actor: str, accounts: Collection[str] = ()
) -> bool:
    """Stop texting ``phone`` (E.164) because a person says so, and end its review. False: it had opted out before.

    ``accounts``: those that the person speaks for. The opt-out became known through the first that knows the number.
    """
    now = utcnow()
    with writing(runtime.engine) as connection:
        end_review(connection, phone, why=f"{actor} opted the number out", actor=actor, now=now)
        account = next(iter([*accounts_that_know(connection, phone, accounts), *accounts]), "") if accounts else ""
        return add_opt_out(connection, phone, source=source, detail=detail, now=now, actor=actor, account=account)


def opt_in_number(
    connection: Connection,
    phone: str,
    *,
    source: str,
    detail: str,
    actor: str,
    now: datetime,
    account: str = "",
    only_of: Collection[str] = (),
) -> bool:
    """Put into the ledger that the person agreed to texts, and lift their opt-out. False: there was none to lift.

    ``detail``: how they agreed. ``only_of``: see ``remove_opt_out``; where the opt-out stays, the ledger gets nothing.
    """
    same: dict[str, Any] = {"source": source, "now": now, "actor": actor, "account": account}
    removed = remove_opt_out(connection, phone, detail=detail, only_of=only_of, **same)
    if removed or not opted_out(connection, [phone]):
        add_consent(connection, phone, words=detail, **same)
    return removed


def remember_number(runtime: Runtime, phone: str, *, why: str, actor: str) -> bool:
    """Let a person who was forgotten come back from the CRM. False: nobody with this number was forgotten.

    An opt-out from before holds: this says that they are known again, not that they agree to texts.
    """
    now = utcnow()
    with writing(runtime.engine) as connection:
        before = let_back(connection, phone, now)
        if before is not None and before.opted_out:
            add_opt_out(connection, phone, source="remembered", detail=why, now=now, actor=actor)
    return before is not None


def _due_again(runtime: Runtime, now: datetime) -> dict[str, Any]:
    """Return the columns of a message that a person wants now: due now, and with a new expiry if it has expired."""
    late = _late(runtime.settings, now)
    expires_at = case((message.c.expires_at <= now, late), else_=message.c.expires_at)
    return {"due_at": now, "expires_at": expires_at, "approved_at": now}


def _late(settings: Settings, now: datetime) -> ColumnElement[datetime]:
    """Return when a message that is due now expires, by the most specific table that says so."""

    def after(window: timedelta) -> ColumnElement[datetime]:
        return literal(now + window, message.c.expires_at.type)

    m = message.c
    levels = ((m.trigger, settings.triggers), (m.connection, settings.connections), (m.account, settings.accounts))
    own = [
        (column == name, after(window))
        for column, tables in levels
        for name, table in tables.items()
        if (window := _own_window(table)) is not None
    ]
    general = after(settings.policy.expires_after)
    return case(*own, else_=general) if own else general


def _own_window(table: TriggerOptions | ConnectionSettings | Account) -> timedelta | None:
    if isinstance(table, TriggerOptions) and table.expires_after is not None:
        return table.expires_after
    policy = table.policy
    return policy.expires_after if policy is not None and "expires_after" in policy.model_fields_set else None


def _chosen(
    connection: Connection,
    batch_id: str | None,
    message_ids: Collection[str] | None,
    trigger: str | None,
    until: str | None,
) -> list[ColumnElement[bool]]:
    """Return the conditions that the chosen messages must all meet."""
    chosen: list[ColumnElement[bool]] = []
    if batch_id is not None:
        chosen.append(message.c.batch_id == batch_id)
    if message_ids is not None:
        chosen.append(any_of(connection, message.c.id, message_ids))
    if trigger is not None:
        chosen.append(message.c.trigger == trigger)
    if not chosen:
        raise NothingChosen("name a batch, messages or a trigger")
    if until is not None:
        chosen.append(message.c.id <= until)  # ids are in order of time
    return chosen

"""The commands about texts: send, record, messages, explain, approve, cancel, retry, resolve."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from worker.cli.common import (
    FAILED,
    Json,
    actor,
    ago,
    app,
    chosen_account,
    complain,
    fail,
    open_store_runtime,
    phone_number,
    say,
    show_json,
    table,
    usage,
)

if TYPE_CHECKING:
    from worker.messages.explain import Explanation, MessageHistory
    from worker.messages.listing import ListedMessage
    from worker.messages.outbox import Enqueued
    from worker.runtime import Runtime

To = Annotated[str, typer.Option("--to", help="The recipient, E.164: +14155552671.")]
Text = Annotated[str, typer.Option("--message", "-m", help="The text.")]
AccountName = Annotated[str | None, typer.Option("--account", help="Needed when several are configured.")]
From = Annotated[str | None, typer.Option("--from", help="The VirtualText number (default: the account's).")]
Media = Annotated[list[str] | None, typer.Option("--media", help="Public URL of a picture; may be repeated.")]
Key = Annotated[
    str | None, typer.Option("--key", help="Idempotency key: the same key again does not text a second time.")
]
MessageIds = Annotated[list[str] | None, typer.Argument(metavar="[MESSAGE_ID]...")]


@app.command()
def send(
    to: To,
    message: Text,
    account: AccountName = None,
    from_number: From = None,
    media: Media = None,
    key: Key = None,
    urgent: Annotated[bool, typer.Option("--urgent", help="Also in quiet hours.")] = False,
    at: Annotated[str | None, typer.Option(help="Not before this time, ISO 8601 with a zone.")] = None,
    queue: Annotated[bool, typer.Option("--queue", help="Leave it to the running workers.")] = False,
    json: Json = False,
) -> None:
    """Send one text: now, at a later time, or when the recipient's quiet hours end."""
    from worker.messages.delivery import deliver_due
    from worker.messages.outbox import SendRequest, enqueue_send

    runtime = open_store_runtime()
    request = SendRequest(
        chosen_account(runtime, account),
        to,
        message,
        tuple(media or ()),
        from_number,
        idempotency_key=key,
        send_at=_moment(at),
        urgent=urgent,
    )
    enqueued = _enqueue(lambda: enqueue_send(runtime, request, source="cli", actor=actor()))
    if not queue:
        deliver_due(runtime, account=request.account, message_ids=[enqueued.message_id])
    _show_outcome(runtime, enqueued, json)


@app.command()
def record(
    to: To,
    message: Text,
    account: AccountName = None,
    from_number: From = None,
    media: Media = None,
    carrier: Annotated[str | None, typer.Option(help="Who sent it, such as twilio.")] = None,
    carrier_message_id: Annotated[
        str | None, typer.Option(help="The carrier's id; a second record of it does nothing.")
    ] = None,
    sent_at: Annotated[str | None, typer.Option(help="When it was sent, ISO 8601 with a zone (default: now).")] = None,
    queue: Annotated[bool, typer.Option("--queue", help="Leave it to the running workers.")] = False,
    json: Json = False,
) -> None:
    """Record a text that another system has sent already. Texts nobody."""
    from worker.messages.outbox import RecordRequest, enqueue_record
    from worker.messages.recording import record_due

    runtime = open_store_runtime()
    request = RecordRequest(
        chosen_account(runtime, account),
        to,
        message,
        tuple(media or ()),
        from_number,
        carrier=carrier,
        carrier_message_id=carrier_message_id,
        sent_at=_moment(sent_at),
    )
    enqueued = _enqueue(lambda: enqueue_record(runtime, request, source="cli", actor=actor()))
    if not queue:
        record_due(runtime, account=request.account, message_ids=[enqueued.message_id])
    _show_outcome(runtime, enqueued, json)


@app.command()
def messages(
    state: Annotated[str | None, typer.Option(help="Only these: queued, held, unknown, accepted, ...")] = None,
    trigger: Annotated[str | None, typer.Option(help="Only those of this trigger.")] = None,
    number: Annotated[str | None, typer.Option(help="Only those to this number.")] = None,
    batch: Annotated[str | None, typer.Option(help="Only those of this batch.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, newest first.")] = 50,
    json: Json = False,
) -> None:
    """List texts and records, newest first, with the reason for their state."""
    from worker.core.states import MessageState
    from worker.messages.listing import find_messages

    if state is not None and state not in set(MessageState):
        usage(f'there is no state "{state}"; there are: {", ".join(MessageState)}')
    phone = None if number is None else phone_number(number)
    runtime = open_store_runtime()
    found = find_messages(runtime, state=state, trigger=trigger, number=phone, batch_id=batch, limit=limit)
    if json:
        show_json(found)
        return
    table(
        ["Id", "State", "To", "Asked by", "When", "Text", "Why"],
        (
            (m.id, m.state, m.to_number, _asked_by(m), ago(m.created_at), _said(m.text, m.segments), m.reason)
            for m in found
        ),
    )
    if not found:
        say("No messages.")


@app.command()
def explain(
    number: Annotated[str, typer.Argument(help="A phone number, E.164: +14155552671.")], json: Json = False
) -> None:
    """Everything about one number: why this person got, or did not get, which text."""
    from worker.messages.explain import explain as find

    phone = phone_number(number)
    runtime = open_store_runtime()
    found = find(runtime, phone)
    if json:
        show_json(found)
    else:
        _show_explanation(found)
    if not found.known:
        raise typer.Exit(FAILED)


@app.command()
def approve(
    what: Annotated[list[str] | None, typer.Argument(metavar="[BATCH|MESSAGE_ID]...")] = None,
    trigger: Annotated[str | None, typer.Option(help="All that wait of this trigger.")] = None,
    json: Json = False,
) -> None:
    """Let texts go that wait for approval."""
    from worker.messages.outbox import approve as decide

    _decide(decide, what, trigger, json, "released; the workers send them, or `vtsync sync`")


@app.command()
def cancel(
    what: Annotated[list[str] | None, typer.Argument(metavar="[BATCH|MESSAGE_ID]...")] = None,
    trigger: Annotated[str | None, typer.Option(help="All that wait of this trigger.")] = None,
    json: Json = False,
) -> None:
    """Drop texts that were not started yet."""
    from worker.messages.outbox import cancel as decide

    _decide(decide, what, trigger, json, "cancelled")


@app.command()
def retry(
    message_ids: MessageIds = None,
    contacts: Annotated[bool, typer.Option("--contacts", help="Contacts that VirtualText refused.")] = False,
    number: Annotated[str | None, typer.Option(help="With --contacts: only this one.")] = None,
    account: AccountName = None,
    json: Json = False,
) -> None:
    """Try again what was refused: messages by id, or contacts. Never repeats what may have been sent."""
    from worker.contacts.resolve import retry_contacts
    from worker.messages.outbox import retry as retry_messages

    if bool(message_ids) == contacts:
        usage("name message ids, or say --contacts")
    runtime = open_store_runtime()
    if contacts:
        count, what = retry_contacts(runtime, account=account, phone=number), "contacts are due again"
    else:
        count, what = retry_messages(runtime, message_ids or [], actor=actor()), "messages are queued again"
        if not count:
            _say_why_nothing(runtime, message_ids or [])
    _show_count(count, what, json)


@app.command()
def resolve(
    what: Annotated[str, typer.Argument(metavar="MESSAGE_ID|NUMBER")],
    sent: Annotated[bool, typer.Option("--sent", help="The text is in the conversation: leave it.")] = False,
    resend: Annotated[bool, typer.Option("--resend", help="The text is not there: send it again.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="The text is not there, and is not wanted any more.")] = False,
    found_as: Annotated[str | None, typer.Option("--id", help="The contact is in VirtualText, under this id.")] = None,
    create: Annotated[bool, typer.Option("--create", help="The contact is not in VirtualText: create it.")] = False,
    account: AccountName = None,
    json: Json = False,
) -> None:
    """Settle an outcome that nobody knows, after a look at VirtualText: of a text, or of a contact's creation."""
    if [sent, resend, drop, found_as is not None, create].count(True) != 1:
        usage("say one: --sent, --resend or --drop for a text; --id ID or --create for a contact")
    runtime = open_store_runtime()
    try:
        if sent or resend or drop:
            from worker.messages.outbox import resolve as resolve_message

            resolve_message(runtime, what, "sent" if sent else "resend" if resend else "drop", actor=actor())
        else:
            from worker.contacts.resolve import resolve_contact

            name = chosen_account(runtime, account)
            resolve_contact(runtime, name, what, virtualtext_id=found_as, actor=actor())
    except (LookupError, ValueError) as error:
        fail(str(error), FAILED)
    if json:
        show_json({"resolved": what})
    else:
        say(f"{what} is settled")


def _enqueue(call: Any) -> Enqueued:
    from worker.messages.outbox import IdempotencyConflict, InvalidRequest

    try:
        return call()  # type: ignore[no-any-return]
    except InvalidRequest as error:
        usage("\n".join(error.problems))
    except IdempotencyConflict as error:
        fail(str(error), FAILED)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        _bad_moment(text)
    if moment.tzinfo is None:
        _bad_moment(text)
    return moment


def _bad_moment(text: str) -> NoReturn:
    usage(f'"{text}" is no time with a zone; write it like 2026-03-01T14:30:00+00:00')


def _show_outcome(runtime: Runtime, enqueued: Enqueued, json: bool) -> None:
    from worker.messages.listing import find_messages

    (now,) = find_messages(runtime, message_id=enqueued.message_id, limit=1)
    if json:
        show_json({"message_id": now.id, "state": now.state, "reason": now.reason, "duplicate": enqueued.duplicate})
    else:
        again = " (this request was made before; nothing was done twice)" if enqueued.duplicate else ""
        say(f"{now.id} {now.state}{again}")
        if now.reason:
            say(f"  {now.reason}")
    if now.state in ("rejected", "suppressed", "expired", "unknown", "failed"):
        raise typer.Exit(FAILED)


def _decide(decide: Any, what: list[str] | None, trigger: str | None, json: bool, done: str) -> None:
    from worker.messages.listing import is_message_id

    if not what and trigger is None:
        usage("name a batch, message ids or --trigger; `vtsync status` shows what waits")
    runtime = open_store_runtime()
    count = 0
    ids = [one for one in what or () if is_message_id(runtime, one)]
    batches = [one for one in what or () if one not in ids]
    if ids:
        count += decide(runtime, message_ids=ids, trigger=trigger, actor=actor())
    for batch in batches:
        count += decide(runtime, batch_id=batch, trigger=trigger, actor=actor())
    if not what:
        count += decide(runtime, trigger=trigger, actor=actor())
    if not count:
        _say_why_nothing(runtime, what or (), trigger)
    _show_count(count, done, json)


def _say_why_nothing(runtime: Runtime, what: Sequence[str], trigger: str | None = None) -> None:
    """On standard error, for each message, batch or trigger that was named: where it stands, or that there is none."""
    from worker.messages.listing import find_messages

    if trigger is not None and not what:
        if trigger in runtime.settings.triggers or find_messages(runtime, trigger=trigger, limit=1):
            complain(f"no text of trigger {trigger} waits for this; `vtsync messages --trigger {trigger}` lists them")
        else:
            complain(f"there is no trigger {trigger}; there are: {', '.join(runtime.settings.triggers) or 'none'}")
    for one in what:
        found = find_messages(runtime, message_id=one, limit=1) or find_messages(runtime, batch_id=one, limit=1)
        if not found:
            complain(f"there is no message or batch {one}; `vtsync messages` lists them")
        elif found[0].id == one:
            complain(f"message {one} is {found[0].state}{': ' + found[0].reason if found[0].reason else ''}")
            if _is_pruned(found[0].text, found[0].segments):
                complain("its words were pruned (retention.texts): send a new text with `vtsync send`")
        else:
            complain(f"no text of batch {one} waits for this; `vtsync messages --batch {one}` lists them")


def _show_count(count: int, what: str, json: bool) -> None:
    if json:
        show_json({"count": count})
    else:
        say(f"{count} {what if count else what.partition(';')[0]}")
    if not count:
        raise typer.Exit(FAILED)


def _asked_by(message: ListedMessage) -> str:
    record = " (record)" if message.kind == "record" else ""
    return f"{message.trigger or message.source}{record}"


def _is_pruned(text: str, segments: int) -> bool:
    return not text and segments > 0


def _said(text: str, segments: int, limit: int = 60) -> str:
    if _is_pruned(text, segments):
        return "(pruned, see retention.texts)"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _show_explanation(found: Explanation) -> None:
    say(found.phone, "bold")
    if not found.known:
        say("  nothing is known about this number")
    if found.opted_out:
        say(f"  opted out since {_time(found.opted_out.since)} ({found.opted_out.source}): nobody texts it", "yellow")
    for change in found.opt_out_history:
        what = "opted out" if change.opted_out else "opted in again"
        say(f"    {_time(change.at)}  {what} ({change.source}, {change.actor}): {change.detail}".rstrip(": "))
    _show_standing(found)
    for contact in found.contacts:
        say(f"  account {contact.account}: {contact.full_name or 'no name'} {contact.email}".rstrip())
        told = f", last told {_time(contact.pushed_at)}" if contact.pushed_at else ""
        say(f"    in VirtualText as {contact.virtualtext_id or 'nothing yet'} ({contact.push_state}{told})")
        if contact.last_error:
            say(f"    {contact.last_error}", "yellow")
        for record in contact.records:
            gone = f", deleted {_time(record.deleted_at)}" if record.deleted_at else ""
            say(f"    CRM record {record.connection} {record.external_id} since {_time(record.first_seen_at)}{gone}")
        for at, kind, detail in contact.events:
            say(f"    {_time(at)}  {kind.replace('_', ' ')}: {detail}")
    for rejection in found.rejections:
        say(f"  rejected: {rejection.connection} {rejection.key} ({rejection.where}): {rejection.reason}", "yellow")
    for message in found.messages:
        _show_history(message)
    for plan in found.planned:
        about = f"CRM record {plan.connection} {plan.external_id}"
        say(f"  at {_time(plan.at)} the trigger {plan.trigger} makes a text about {about}")


def _show_standing(found: Explanation) -> None:
    """What the policy makes of the number at this moment."""
    if found.review_since:
        say(f"  since {_time(found.review_since)} a person has to read what it wrote; its texts wait", "yellow")
    cap = f" of at most {found.max_texts}" if found.max_texts else ""
    say(f"  texts in the last 24 hours: {found.texts_last_24h}{cap}")
    for standing in found.standings:
        say(f"  as the account {standing.account} texts it:")
        say(f"    {standing.verdict}", None if standing.verdict.endswith("at once") else "yellow")
        if standing.hours is None:
            say("    at any hour (policy.quiet_hours is none)")
            continue
        clocks = ", ".join(f"{clock} in {zone}" for zone, clock in standing.clocks)
        states = f", state {' or '.join(standing.states)}" if standing.states else ""
        say(f"    {clocks or 'time zone not known'}{f' (from {standing.source})' if clocks else ''}{states}")
        opens = (
            f"{standing.opens_at.astimezone():%Y-%m-%d %H:%M %Z}"
            if standing.opens_at
            else "never, until its time zone is known"
        )
        now = "it is not one of their quiet hours" if standing.open_now else f"quiet hours; next open: {opens}"
        say(f"    texts go from {standing.hours}; {now}")


def _show_history(message: MessageHistory) -> None:
    asked = f"trigger {message.trigger}" if message.trigger else message.source
    say(f"  {message.kind} {message.id} ({asked}, from {message.from_number}): {message.state}", "bold")
    say(f"    “{_said(message.text, message.segments, 200)}”")
    for url in message.media:
        say(f"    with {url}")
    for step in message.steps:
        say(f"    {_time(step.at)}  {step.after}{': ' + step.reason if step.reason else ''} ({step.actor})")


def _time(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")

"""The commands about texts: send, record, messages, explain, approve, cancel, retry, resolve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.chosen import chosen_messages, chosen_texts
from worker.cli.common import (
    FAILED,
    MOST_LISTED,
    Json,
    Number,
    actor,
    app,
    chosen_account,
    complain,
    confirm,
    fail,
    open_store_runtime,
    say,
    show_done,
    show_json,
    typed_number,
    usage,
)
from worker.cli.explanation import show_explanation
from worker.cli.interruption import stopping_safely
from worker.cli.message_view import is_pruned, outlook_line, short_ids_of, show_messages
from worker.core.text import counted

if TYPE_CHECKING:
    from worker.messages.outbox import Enqueued
    from worker.runtime import Runtime

ToOption = Annotated[str, typer.Option("--to", help="The recipient, E.164: +14155552671.")]
TextOption = Annotated[str, typer.Option("--message", "-m", help="The text.")]
AccountOption = Annotated[str | None, typer.Option("--account", help="The account; needed if there are several.")]
FromOption = Annotated[str | None, typer.Option("--from", help="The VirtualText number (default: the account's).")]
MediaOption = Annotated[
    list[str] | None, typer.Option("--media", help="Public URL of a picture. Repeat it for several pictures.")
]
KeyOption = Annotated[
    str | None, typer.Option("--key", help="Idempotency key: repeating the command with it sends no second text.")
]
MetadataOption = Annotated[
    list[str] | None,
    typer.Option("--metadata", metavar="KEY=VALUE", help="An entry of its metadata. Repeat it for several."),
]
QueueOption = Annotated[bool, typer.Option("--queue", help="Leave the work to the running workers.")]
MessageIds = Annotated[list[str] | None, typer.Argument(metavar="MESSAGE_ID")]


@app.command()
def send(
    to: ToOption,
    message: TextOption,
    account: AccountOption = None,
    from_number: FromOption = None,
    media: MediaOption = None,
    key: KeyOption = None,
    urgent: Annotated[bool, typer.Option("--urgent", help="Send it in quiet hours too.")] = False,
    at: Annotated[str | None, typer.Option(help="The earliest time to send it, ISO 8601 with a time zone.")] = None,
    expires_at: Annotated[
        str | None, typer.Option(help="The latest time to send it (default: policy.expires_after after it is due).")
    ] = None,
    metadata: MetadataOption = None,
    callback_url: Annotated[
        str | None, typer.Option(help="An https URL that each event of this text is POSTed to.")
    ] = None,
    queue: QueueOption = False,
    json: Json = False,
) -> None:
    """Send one text, now or later. In quiet hours it waits until they end."""
    from worker.messages.delivery import deliver_due
    from worker.messages.outbox import enqueue_send
    from worker.messages.requests import SendRequest

    runtime = open_store_runtime()
    values = {
        "account": chosen_account(runtime, account),
        "to": to,
        "message": message,
        "media": media or (),
        "from_number": from_number,
        "idempotency_key": key,
        "send_at": at,
        "expires_at": expires_at,
        "urgent": urgent,
        "metadata": _entries(metadata),
        "callback_url": callback_url,
    }
    with _refusals():
        request = SendRequest.parse(values)
        enqueued = enqueue_send(runtime, request, source="cli", actor=actor())
    with stopping_safely(runtime):
        if not queue:
            deliver_due(runtime, account=request.account, message_ids=[enqueued.message_id])
        _show_outcome(runtime, enqueued, json)


@app.command()
def record(
    to: ToOption,
    message: TextOption,
    account: AccountOption = None,
    from_number: FromOption = None,
    media: MediaOption = None,
    carrier: Annotated[str | None, typer.Option(help="Who sent it, such as twilio.")] = None,
    carrier_message_id: Annotated[
        str | None, typer.Option(help="The carrier's id. Recording it a second time does nothing.")
    ] = None,
    sent_at: Annotated[
        str | None, typer.Option(help="When it was sent, ISO 8601 with a time zone (default: now).")
    ] = None,
    queue: QueueOption = False,
    json: Json = False,
) -> None:
    """Record a text that another system has already sent. Nobody is texted."""
    from worker.messages.outbox import enqueue_record
    from worker.messages.recording import record_due
    from worker.messages.requests import RecordRequest

    runtime = open_store_runtime()
    values = {
        "account": chosen_account(runtime, account),
        "to": to,
        "message": message,
        "media": media or (),
        "from_number": from_number,
        "carrier": carrier,
        "carrier_message_id": carrier_message_id,
        "sent_at": sent_at,
    }
    with _refusals():
        request = RecordRequest.parse(values)
        enqueued = enqueue_record(runtime, request, source="cli", actor=actor())
    with stopping_safely(runtime):
        if not queue:
            record_due(runtime, account=request.account, message_ids=[enqueued.message_id])
        _show_outcome(runtime, enqueued, json)


@app.command()
def messages(
    state: Annotated[
        str | None, typer.Option(help="Only messages in this state: queued, held, unknown, accepted, ...")
    ] = None,
    trigger: Annotated[str | None, typer.Option(help="Only messages of this trigger.")] = None,
    number: Annotated[str | None, typer.Option(help="Only messages to this number.")] = None,
    batch: Annotated[str | None, typer.Option(help="Only messages of this batch.")] = None,
    metadata: MetadataOption = None,
    test: Annotated[
        bool | None, typer.Option("--test/--no-test", help="Only messages of test keys, or only the others.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST_LISTED, help="How many messages to show, newest first.")] = 50,
    json: Json = False,
) -> None:
    """List texts and records, newest first. Shows why each is in its state."""
    from worker.core.states import MessageState
    from worker.messages.read_models import find_messages

    if state is not None and state not in set(MessageState):
        usage(f'there is no state "{state}"; there are: {", ".join(MessageState)}')
    runtime = open_store_runtime()
    phone = None if number is None else typed_number(runtime, number)
    batch = None if batch is None else next(iter(chosen_texts(runtime, [batch])[1]), batch)
    found = find_messages(
        runtime,
        state=state,
        trigger=trigger,
        number=phone,
        batch_id=batch,
        metadata=_entries(metadata),
        test=test,
        limit=limit,
    )
    if json:
        show_json(found)
        return
    show_messages(runtime, found)
    if not found:
        say("No messages.")


@app.command()
def explain(
    number: Number,
    json: Json = False,
) -> None:
    """Show everything about one number.

    Explains why this person did, or did not, get each text.
    """
    from worker.contacts.links import RecordLinks
    from worker.messages.explain import explain as find

    runtime = open_store_runtime(shows=True)
    found = find(runtime, typed_number(runtime, number))
    if json:
        show_json(found)
    else:
        with RecordLinks(runtime) as links:
            show_explanation(found, links.of, short_ids_of(runtime, [one.id for one in found.messages]))
    if not found.known:
        raise typer.Exit(FAILED)


@app.command()
def approve(
    what: Annotated[list[str] | None, typer.Argument(metavar="BATCH|MESSAGE_ID")] = None,
    trigger: Annotated[str | None, typer.Option(help="All waiting texts of this trigger.")] = None,
    json: Json = False,
) -> None:
    """Release texts that wait for approval."""
    from worker.messages.decisions import approve as decide

    done = "released; the running workers send what is due, or `vtsync sync`"
    _decide(decide, what, trigger, json, ("text", done))


@app.command()
def cancel(
    what: Annotated[list[str] | None, typer.Argument(metavar="BATCH|MESSAGE_ID")] = None,
    trigger: Annotated[str | None, typer.Option(help="All waiting texts of this trigger.")] = None,
    json: Json = False,
) -> None:
    """Cancel texts that are not being sent yet."""
    from worker.messages.decisions import cancel as decide

    _decide(decide, what, trigger, json, ("text", "cancelled"))


@app.command()
def retry(
    message_ids: MessageIds = None,
    contacts: Annotated[bool, typer.Option("--contacts", help="Retry the contacts that VirtualText refused.")] = False,
    number: Annotated[str | None, typer.Option(help="With --contacts: only the contact with this number.")] = None,
    account: AccountOption = None,
    json: Json = False,
) -> None:
    """Retry messages or contacts that VirtualText refused.

    Never repeats a text that may have been sent.
    """
    from worker.contacts.resolve import retry_contacts
    from worker.messages.decisions import retry as retry_messages

    if bool(message_ids) == contacts:
        usage("give message ids or --contacts")
    runtime = open_store_runtime()
    if contacts:
        phone = None if number is None else typed_number(runtime, number)
        count = retry_contacts(runtime, phone=phone, accounts=() if account is None else (account,))
        what = ("contact", "will be tried again")
    else:
        chosen = chosen_messages(runtime, message_ids or [])
        count, what = retry_messages(runtime, chosen, actor=actor()), ("message", "queued again")
        if not count:
            _say_why_nothing(runtime, chosen)
    _show_count(count, what, json)


@app.command()
def resolve(
    what: Annotated[str, typer.Argument(metavar="MESSAGE_ID|NUMBER")],
    sent: Annotated[bool, typer.Option("--sent", help="The text is in the conversation: keep it as sent.")] = False,
    resend: Annotated[bool, typer.Option("--resend", help="The text is not there: send it again.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="The text is not there and is no longer wanted.")] = False,
    found_as: Annotated[str | None, typer.Option("--id", help="The contact is in VirtualText, under this id.")] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Create the contact, unless VirtualText's contact list has it.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --create: create it even if the list cannot be read.")
    ] = False,
    account: AccountOption = None,
    json: Json = False,
) -> None:
    """Record the outcome of an unknown text or contact.

    Look it up in VirtualText first.
    """
    if [sent, resend, drop, found_as is not None, create].count(True) != 1:
        usage("give exactly one of --sent, --resend, --drop (for a text) or --id ID, --create (for a contact)")
    if yes and not create:
        usage("only --create takes --yes")
    runtime = open_store_runtime()
    result: dict[str, str | None] = {}
    done = "{what} is resolved"
    try:
        if sent or resend or drop:
            from worker.messages.decisions import resolve as resolve_message

            (what,) = chosen_messages(runtime, [what])
            resolve_message(runtime, what, "sent" if sent else "resend" if resend else "drop", actor=actor())
        elif create:
            what = typed_number(runtime, what)
            result["adopted_as"] = _create_again(runtime, chosen_account(runtime, account), what, yes)
            done = (
                "{what} is in VirtualText already, as {adopted_as}; it is adopted, not created"
                if result["adopted_as"]
                else "{what} is created"
            )
        else:
            from worker.contacts.resolve import resolve_contact

            name = chosen_account(runtime, account)
            what = typed_number(runtime, what)
            resolve_contact(runtime, name, what, virtualtext_id=found_as, actor=actor())
    except (LookupError, ValueError) as error:
        fail(str(error), FAILED)
    show_done(json, {"resolved": what} | result, done.format(what=what, **result))


def _create_again(runtime: Runtime, account: str, phone: str, yes: bool) -> str | None:
    """Look a lost create up, and let it be created again if it is not there. Return its id if it is."""
    from worker.contacts.resolve import ListNotRead, resolve_by_list, resolve_contact

    try:
        return resolve_by_list(runtime, account, phone, actor=actor())
    except ListNotRead as error:
        complain(f"{error}. If VirtualText has {phone} already, it will be there twice.")
    confirm(f"Create {phone} without the list?", yes=yes)
    resolve_contact(runtime, account, phone, virtualtext_id=None, actor=actor())
    return None


def _entries(options: Sequence[str] | None) -> dict[str, str]:
    """Read the options ``--metadata KEY=VALUE``."""
    entries = {}
    for option in options or ():
        key, separator, value = option.partition("=")
        if not separator or not key or key in entries:
            usage(f'--metadata needs KEY=VALUE with another KEY each time, such as order=17, not "{option}"')
        entries[key] = value
    return entries


@contextmanager
def _refusals() -> Iterator[None]:
    """End the command if the request is invalid, or its key was used for another request."""
    from worker.messages.requests import IdempotencyConflict, InvalidRequest

    try:
        yield
    except InvalidRequest as error:
        usage("\n".join(problem.sentence for problem in error.problems))
    except IdempotencyConflict as error:
        fail(str(error), FAILED)


def _show_outcome(runtime: Runtime, enqueued: Enqueued, json: bool) -> None:
    from worker.messages.read_models import message_details

    now = message_details(runtime, enqueued.message_id)
    if now is None:
        fail(f"message {enqueued.message_id} is gone", FAILED)
    if json:
        show_json(
            {
                "message_id": now.id,
                "state": now.state,
                "reason": now.reason,
                "duplicate": enqueued.duplicate,
                "test": enqueued.test,
                "expected_at": now.expected_at,
            }
        )
    else:
        again = (
            " (the same request was made before; this is its message, and nothing was sent again)"
            if enqueued.duplicate
            else ""
        )
        say(f"{short_ids_of(runtime, [now.id])[now.id]}  {now.state}{again}")
        if now.reason:
            say(f"  {now.reason}")
        if outlook := outlook_line(now):
            say(f"  {outlook}")
    if now.state in ("rejected", "suppressed", "expired", "unknown", "failed"):
        raise typer.Exit(FAILED)


def _decide(decide: Any, what: list[str] | None, trigger: str | None, json: bool, done: tuple[str, str]) -> None:
    if not what and trigger is None:
        usage("give a batch, message ids or --trigger; `vtsync status` shows what waits")
    runtime = open_store_runtime()
    count = 0
    ids, batches = chosen_texts(runtime, what or ())
    if ids:
        count += decide(runtime, message_ids=ids, trigger=trigger, actor=actor())
    for batch in batches:
        count += decide(runtime, batch_id=batch, trigger=trigger, actor=actor())
    if not what:
        count += decide(runtime, trigger=trigger, actor=actor())
    if not count:
        _say_why_nothing(runtime, (*ids, *batches), trigger)
    _show_count(count, done, json)


def _say_why_nothing(runtime: Runtime, what: Sequence[str], trigger: str | None = None) -> None:
    """Print on standard error why nothing happened to each message, batch or trigger."""
    from worker.core.states import PauseKind
    from worker.messages.read_models import find_messages
    from worker.store.db import reading
    from worker.store.pauses import find_pause

    if trigger is not None and not what:
        with reading(runtime.engine) as connection:
            pause = find_pause(connection, PauseKind.TRIGGER, trigger)
        if pause is not None and find_messages(runtime, trigger=trigger, state="held", limit=1):
            complain(f"the trigger {trigger} is {pause}; its texts are held until `vtsync resume trigger {trigger}`")
        elif trigger in runtime.settings.triggers or find_messages(runtime, trigger=trigger, limit=1):
            complain(f"trigger {trigger} has no text that waits; `vtsync messages --trigger {trigger}` lists its texts")
        else:
            complain(f"there is no trigger {trigger}; there are: {', '.join(runtime.settings.triggers) or 'none'}")
    for one in what:
        found = find_messages(runtime, message_id=one, limit=1) or find_messages(runtime, batch_id=one, limit=1)
        if not found:
            complain(f"there is no message or batch {one}; `vtsync messages` lists all messages")
        elif found[0].id == one:
            complain(f"message {one} is {found[0].state}{': ' + found[0].reason if found[0].reason else ''}")
            if is_pruned(found[0]):
                complain("the text was pruned (retention.texts); send a new text with `vtsync send`")
        else:
            complain(f"batch {one} has no text that waits; `vtsync messages --batch {one}` lists its texts")


def _show_count(count: int, what: tuple[str, str], json: bool) -> None:
    """Print how many texts or contacts (``what``: their name, and what happened to them) were changed."""
    thing, happened = what
    said = f"{counted(count, thing)} {happened if count else happened.partition(';')[0]}"
    show_done(json, {"count": count}, said)
    if not count:
        raise typer.Exit(FAILED)

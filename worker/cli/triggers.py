"""The commands that try triggers and the policy: triggers list, test, backtest; policy what-if."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import (
    FAILED,
    Json,
    actor,
    ago,
    app,
    complain,
    confirm,
    fail,
    local_time,
    open_store_runtime,
    say,
    show_json,
    table,
    typed_number,
    usage,
)
from worker.cli.group import Group
from worker.cli.message_view import short_ids_of
from worker.cli.progress import progress
from worker.core.text import counted

if TYPE_CHECKING:
    from worker.rehearsal.backtest import Backtest
    from worker.rehearsal.trial import Trial
    from worker.rehearsal.what_if import WhatIf
    from worker.runtime import Runtime

triggers = typer.Typer(cls=Group, no_args_is_help=True, help="Show triggers, and try them.", rich_markup_mode=None)
policy = typer.Typer(
    cls=Group, no_args_is_help=True, help="Try the policy before you change it.", rich_markup_mode=None
)
app.add_typer(triggers, name="triggers")
app.add_typer(policy, name="policy")

TriggerName = Annotated[str, typer.Argument(metavar="TRIGGER")]
Days = Annotated[int, typer.Option("--days", min=1, max=400, help="How many days to look back.")]
WARNING = "yellow"


@triggers.command("list")
def list_triggers(json: Json = False) -> None:
    """List triggers: if they are active, when they last made a text, and what waits."""
    from worker.rehearsal.overview import trigger_overview

    found = trigger_overview(open_store_runtime(shows=True))
    if json:
        show_json(found)
        return
    for one in found:
        say(f"{one.trigger} ({one.on}, {one.connection}): {one.state}", "bold" if one.state == "active" else WARNING)
        last = "it has made no text yet" if one.last_made_at is None else f"last text {ago(one.last_made_at)}"
        say(f"  {last}, {counted(one.texts_today, 'text')} in 24 hours")
        if one.held:
            say(f"  {counted(one.held, 'text')} held: `vtsync messages --state held --trigger {one.trigger}`", WARNING)
        if one.planned and one.next_at:
            say(f"  {counted(one.planned, 'record')} with a coming date, the first {ago(one.next_at)}")
        if one.pause is not None:
            say(f"  {one.pause}; its texts are held: `vtsync resume trigger {one.trigger}`", WARNING)
        if one.state == "waits for baseline":
            say("  the next complete sync is its baseline and texts nobody; it is active after that")
    if not found:
        say("No triggers are configured.")


@triggers.command("test")
def show_trial(
    name: TriggerName,
    record: Annotated[str, typer.Option("--record", help="The CRM's id of the record.")],
    connection: Annotated[
        str | None, typer.Option("--connection", "-C", help="Needed if the trigger watches several.")
    ] = None,
    to_me: Annotated[
        str | None, typer.Option("--to-me", metavar="NUMBER", help="Send the text to your own phone, once.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="With --to-me: send it without asking.")] = False,
    json: Json = False,
) -> None:
    """Show what a trigger would do for one record. Changes nothing, except that --to-me sends one text."""
    from crm_adapters.base import AdapterError
    from worker.rehearsal.trial import NothingToTry, try_trigger

    runtime = open_store_runtime()
    phone = None if to_me is None else typed_number(runtime, to_me)
    _require_trigger(runtime, name)
    try:
        with progress("reading the CRM") as report:
            trial = try_trigger(runtime, name, record, connection, report)
    except (NothingToTry, AdapterError) as error:
        fail(str(error), FAILED)
    if phone is None:
        if json:
            show_json(trial)
        else:
            _show_trial(trial)
        return
    if not json:
        _show_trial(trial)
    _send_to_me(runtime, trial, phone, yes, json)


@triggers.command("backtest")
def show_backtest(name: TriggerName, days: Days = 30, json: Json = False) -> None:
    """Show whom a trigger would have texted, by the history that is stored. Sends nothing."""
    from worker.rehearsal.backtest import backtest

    runtime = open_store_runtime()
    _require_trigger(runtime, name)
    with progress("reading records") as report:
        result = backtest(runtime, name, days, report)
    if json:
        show_json(result)
    else:
        _show_backtest(result)


@policy.command("what-if")
def show_what_if(
    changes: Annotated[
        list[str], typer.Option("--set", metavar="NAME=VALUE", help="A changed setting, repeatable: text_until=18:00.")
    ],
    days: Days = 30,
    to: Annotated[str | None, typer.Option("--to", metavar="NUMBER", help="Only texts to this number.")] = None,
    json: Json = False,
) -> None:
    """Show what changed settings of the policy would have decided about the texts of the last days."""
    from worker.rehearsal.what_if import InvalidSetting, changed_policy, what_if

    runtime = open_store_runtime()
    phone = None if to is None else typed_number(runtime, to)
    try:
        changed = changed_policy(runtime.settings.policy, changes)
    except InvalidSetting as error:
        usage(str(error))
    with progress("replaying texts") as report:
        result = what_if(runtime, changed, days, to=phone, progress=report)
    if json:
        show_json(result)
    else:
        _show_what_if(runtime, result)


def _require_trigger(runtime: Runtime, name: str) -> None:
    if name not in runtime.settings.triggers:
        usage(f'there is no trigger "{name}"; there are: {", ".join(runtime.settings.triggers) or "none"}')


def _show_trial(trial: Trial) -> None:
    about = f"record {trial.external_id} of {trial.connection}"
    say(f"{trial.trigger} {'fires' if trial.fires else 'does not fire'} for {about}", None if trial.fires else WARNING)
    if not trial.stored:
        say("  the record was read from the CRM: no sync has stored it yet")
    for why in trial.why:
        say(f"  {why}")
    if trial.problem:
        say(f"  the text cannot be written: {trial.problem}", WARNING)
        return
    say(f"  to {trial.to_number}, from {trial.from_number} (account {trial.account})")
    say(f"  “{trial.text}”")
    for url in trial.media:
        say(f"  with {url}")
    say(f"  {counted(trial.segments, 'segment')}, {trial.encoding}")
    say("  " + ("the policy decides:" if trial.fires else "if it did fire, the policy would decide:"))
    for step in trial.steps:
        say(f"    {local_time(step.at)}  {step.decision}", hang=6)


def _send_to_me(runtime: Runtime, trial: Trial, phone: str, yes: bool, json: bool) -> None:
    """Send the text of a trial to the operator's own phone, through the outbox."""
    from worker.cli.interruption import stopping_safely
    from worker.messages.delivery import deliver_due
    from worker.messages.outbox import enqueue_send
    from worker.messages.read_models import find_messages
    from worker.messages.requests import InvalidRequest, SendRequest

    if trial.problem:
        fail("the text cannot be written, so there is nothing to send", FAILED)
    confirm(f"Send this text to {phone} now, from {trial.from_number}?", yes=yes)
    values = {"account": trial.account, "to": phone, "message": trial.text, "media": trial.media}
    try:
        request = SendRequest.parse(values | {"from_number": trial.from_number})
        made = enqueue_send(runtime, request, source="trigger_test", actor=actor())
    except InvalidRequest as error:
        usage("\n".join(problem.sentence for problem in error.problems))
    with stopping_safely(runtime):
        deliver_due(runtime, account=trial.account, message_ids=[made.message_id])
    (now,) = find_messages(runtime, message_id=made.message_id, limit=1)
    if json:
        show_json({"trial": trial, "message_id": now.id, "state": now.state, "reason": now.reason})
    else:
        say(f"{short_ids_of(runtime, [now.id])[now.id]}  {now.state}")
        if now.reason:
            say(f"  {now.reason}")
    if now.state == "simulated":
        complain(f"add {phone} to accounts.{trial.account}.test_numbers, so that it is sent in test mode, too")
    if now.state in ("simulated", "suppressed", "rejected", "unknown", "expired"):
        raise typer.Exit(FAILED)


def _show_backtest(result: Backtest) -> None:
    say(
        f"{result.trigger}, {result.since:%Y-%m-%d} to {result.until:%Y-%m-%d} (days are in UTC):"
        f" {counted(result.made, 'text')} to {counted(result.people, 'person', 'people')},"
        f" from {counted(result.records, 'record')}",
        "bold",
    )
    stopped = sorted(result.outcomes.keys() - {"sent"})
    table(
        ["Day", "#Texts", "#Sent", *(f"#{_label(code)}" for code in stopped)],
        (
            (f"{one.day:%a %Y-%m-%d}", one.made, one.outcomes["sent"], *(one.outcomes[code] or "" for code in stopped))
            for one in result.days
        ),
    )
    for code in stopped:
        say(f"  {counted(result.outcomes[code], 'text')} {_label(code)}: such as: {result.reasons[code]}", WARNING)
    for code, number in sorted(result.held.items()):
        say(f"  {counted(number, 'text')} would have waited ({_label(code)})")
    if result.hours:
        shown = ", ".join(f"{hour:02}h {number}" for hour, number in sorted(result.hours.items()))
        say(f"  by the hour of the recipient's day: {shown}")
    for one in result.examples:
        when = f"{one.at:%Y-%m-%d %H:%M}"
        later = f", {one.decided_at:%d %H:%M}" if one.decided_at != one.at else ""
        say(f"  {when} {one.to_number} (record {one.external_id}): {_label(one.outcome)}{later}")
        say(f"    “{one.text}”" if one.text else f"    {one.reason}")
    for note in result.notes:
        say(f"  Note: {note.rstrip('.')}.")


def _show_what_if(runtime: Runtime, result: WhatIf) -> None:
    from worker.rehearsal.what_if import as_columns

    ids = short_ids_of(runtime, [one.message_id for one in result.examples])
    for name, (now, then) in result.changed.items():
        say(f"policy.{name}: {now} -> {then}", "bold")
    if not result.changed:
        say("These are the present settings: nothing would change.")
    say(f"{counted(result.texts, 'text')}, {result.since:%Y-%m-%d} to {result.until:%Y-%m-%d}")
    codes = [code for code, _ in as_columns(result.now | result.then)]
    table(["Outcome", "#Now", "#Changed"], ((_label(c), result.now[c], result.then[c]) for c in codes))
    for change, number in result.different.most_common():
        say(f"  {counted(number, 'text')}: {_label(change)}")
    for number, when in ((result.sooner, "sooner"), (result.later, "later")):
        if number:
            say(f"  {counted(number, 'text')} would go {when}")
    for one in result.examples:
        by = f"trigger {one.trigger}" if one.trigger else "a job"
        say(f"  {one.created_at:%Y-%m-%d %H:%M} {one.to_number} ({by}, {ids[one.message_id]})", hang=4)
        say(f"    {_label(one.now)} {one.now_at:%d %H:%M} -> {_label(one.then)} {one.then_at:%d %H:%M}")
        if one.reason:
            say(f"    {one.reason}")
    if result.left_out:
        left_out = counted(result.left_out, "text")
        say(f"  {left_out} left out, because it ended for a reason that no setting of the policy changes")
    say("  Note: both columns are replayed with what records, consent and opt-outs say today; times are in UTC.")


def _label(code: str) -> str:
    return code.replace("_", " ")

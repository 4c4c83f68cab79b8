"""The commands that run the fleet and show its state: up, worker, beat, status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.common import (
    FAILED,
    MOST_LISTED,
    Json,
    ago,
    app,
    enable_telemetry,
    fail,
    local_time,
    open_store_runtime,
    say,
    say_what_codes_mean,
    show_done,
    show_json,
    table,
    usage,
)

if TYPE_CHECKING:
    from worker.doctor.status import Overview


MetricsPort = Annotated[
    int | None,
    typer.Option("--metrics-port", min=1, max=65535, help="Serve metrics here (default: as configured)."),
]


@app.command()
def up() -> None:
    """Run a worker and the scheduler together, until Ctrl-C."""
    from worker.fleet.processes import AlreadyRunning, run_up

    open_store_runtime(log="info")
    try:
        raise typer.Exit(run_up())
    except AlreadyRunning as error:
        fail(str(error), FAILED)


@app.command()
def worker(
    queues: Annotated[
        str, typer.Option(help="Do only this work, such as messages,intake (default: worker.queues, else everything).")
    ] = "",
    metrics_port: MetricsPort = None,
) -> None:
    """Run one worker process. `vtsync up` runs everything on one machine."""
    from worker.broker.settings import BY_NAME
    from worker.fleet.processes import run_worker

    chosen = [name.strip() for name in queues.split(",") if name.strip()]
    for name in chosen:
        if name not in BY_NAME:
            usage(f'there is no queue "{name}"; there are: {", ".join(BY_NAME)}')
    if queues and not chosen:
        usage(f"--queues names no queue; there are: {', '.join(BY_NAME)}")
    runtime = open_store_runtime(log="info")
    enable_telemetry(runtime, "worker")
    run_worker(chosen, metrics_port or runtime.settings.metrics.port)


@app.command()
def beat(metrics_port: MetricsPort = None) -> None:
    """Run the scheduler. A second one does no harm. It needs no secret but those of the store and the broker."""
    from config.load import load_scheduler
    from worker.fleet.processes import run_beat

    runtime = open_store_runtime(log="info", load=load_scheduler)
    enable_telemetry(runtime, "beat")
    run_beat(metrics_port or runtime.settings.metrics.beat_port)


@app.command()
def status(
    rejected: Annotated[bool, typer.Option("--rejected", help="List the rejected CRM records with reasons.")] = False,
    unread: Annotated[
        bool, typer.Option("--unread", help="List the records with a value that a trigger cannot read.")
    ] = False,
    contacts: Annotated[
        str | None, typer.Option(help="List contacts in this state: due, unknown, rejected, ...")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST_LISTED, help="List at most this many.")] = 50,
    json: Json = False,
) -> None:
    """Show the state of everything, and what waits for you."""
    from dataclasses import asdict

    from worker.contacts.links import RecordLinks
    from worker.core.states import PushState
    from worker.doctor.status import contacts_in, jobs_in_broker, overview, rejected_records
    from worker.messages.unread_records import unread_records
    from worker.store.db import reading

    if contacts is not None and contacts not in set(PushState):
        usage(f'there is no state "{contacts}"; there are: {", ".join(PushState)}')
    runtime = open_store_runtime(shows=True)
    if rejected:
        records = rejected_records(runtime, list(runtime.settings.connections), limit)
        with RecordLinks(runtime) as links:
            linked = [(r, links.of(r.connection, r.key)) for r in records]
        if json:
            show_json([asdict(record) | {"link": link} for record, link in linked])
        else:
            table(
                ["Connection", "Record", "Where", "Since", "Why"],
                ((r.connection, r.key, link or r.where, ago(r.since), r.reason) for r, link in linked),
                lead=("Connection", "Record", "Since"),
            )
            say("Correct them in the CRM; the next sync reads them again." if records else "No record is rejected.")
    elif unread:
        with reading(runtime.engine) as db:
            found_unread = unread_records(db, runtime.settings, limit)
        if json:
            show_json([asdict(one) for one in found_unread])
        else:
            table(
                ["Connection", "Record", "Trigger", "Value", "Why"],
                ((one.connection, one.external_id, one.trigger, one.value, one.reason) for one in found_unread),
                lead=("Connection", "Record"),
            )
            if not found_unread:
                say("Triggers can read the values of all records.")
    elif contacts is not None:
        stuck = contacts_in(runtime, contacts, limit)
        if json:
            show_json(stuck)
        else:
            table(
                ["Account", "Phone", "Name", "State", "#Attempts", "Last", "Next", "Why"],
                (
                    (
                        *(s.account, s.phone, s.full_name, s.state, s.attempts, ago(s.attempted_at)),
                        ago(s.next_attempt_at) if s.next_attempt_at else "",
                        s.error,
                    )
                    for s in stuck
                ),
                lead=("Phone", "State", "Last"),
            )
            if not stuck:
                say(f"No contact is {contacts}.")
    else:
        found = overview(runtime, count_rows=True)
        jobs = jobs_in_broker(runtime.settings)
        if json:
            show_json(found.as_json() | {"jobs": jobs})
        else:
            _show(found)
            say(_jobs_text(jobs))


@app.command("dead-letters")
def show_dead_letters(
    clear: Annotated[bool, typer.Option("--clear", help="Delete the list, once the senders are corrected.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=MOST_LISTED, help="List at most this many.")] = 50,
    json: Json = False,
) -> None:
    """List messages of the broker that were refused, with reasons. Their content is not kept."""
    from worker.core.text import counted
    from worker.inbox.dead_letters import clear_dead_letters, dead_letters

    runtime = open_store_runtime()
    if clear:
        count = clear_dead_letters(runtime)
        show_done(json, {"deleted": count}, f"{counted(count, 'dead letter was', 'dead letters were')} deleted.")
        return
    found = dead_letters(runtime, limit)
    if json:
        show_json(found)
        return
    table(
        ["Last", "#Times", "Queue", "Task", "Id", "#Bytes", "The message was refused because"],
        ((ago(d.last_at), d.times, d.queue, d.task, d.message_id, f"{d.size:,}", d.reason) for d in found),
        lead=("Task", "Last"),
    )
    say(
        "Correct the senders and let them send again; then run `vtsync dead-letters --clear`."
        if found
        else "No message was refused."
    )


def _show(found: Overview) -> None:
    from worker.doctor.status import attention_text

    _show_state(found)
    for file in found.configuration:
        say(
            f"{file.place} was changed {ago(file.since)} and cannot be used; processes keep the previous configuration:"
        )
        say(file.problem, "yellow")
    if found.attention:
        say("Waiting for you:", "bold")
        for one in found.attention:
            oldest = f" ({'the oldest ' if one.count > 1 else ''}{ago(one.since)})" if one.since else ""
            say(f"  {attention_text(one)}{oldest}: `{one.command}`{one.mark}", "yellow")
        say_what_codes_mean(found.attention)
    elif not found.configuration and not any(one.note for one in found.connections):
        say("Nothing waits for you.")


def _show_state(found: Overview) -> None:
    """Print the state of the connections and accounts."""
    table(
        ["Connection", "Adapter", "Schedule", "Last run", "State", "#Seen", "#Changed", "#Rejected", "Next"],
        (
            (
                c.name,
                c.adapter,
                c.schedule,
                ago(c.started_at),
                c.state,
                f"{c.seen:,}",
                f"{c.changed:,}",
                c.rejected_now,
                ago(c.next_run_at) if c.next_run_at else "",
            )
            for c in found.connections
        ),
        lead=("Connection", "State", "Last run"),
    )
    table(
        ["Account", "Contacts", "Messages"],
        ((a.name, _states(a.contacts) or "none", _states(a.messages) or "none") for a in found.accounts),
    )
    from worker.core.clock import utcnow

    for note in found.test_mode:
        say(note, "yellow")
    now = utcnow()
    for account in found.accounts:
        if not account.stopped and account.paused_until and account.paused_until > now:
            days = (account.paused_until - now).days
            until = "" if days > 365 else f" until {local_time(account.paused_until)} ({ago(account.paused_until)})"
            say(f"{account.name} is paused{until}: {account.pause_reason}", "yellow")
        if account.contact_list:
            say(f"{account.name}: {account.contact_list}", "yellow")
    for name, pause in found.paused_triggers.items():
        say(f"trigger {name} is {pause}; its texts are held: `vtsync resume trigger {name}`", "yellow")
    for connection in found.connections:
        if connection.note:
            say(f"{connection.name} {connection.note}", "yellow")
        for budget in connection.budgets:
            say(f"{connection.name}: {budget}")


def _jobs_text(jobs: dict[str, Any]) -> str:
    if jobs["error"]:
        return f"The broker cannot be used now ({jobs['error']}); `vtsync doctor` says more."
    parts = [f"{jobs['waiting']:,} waiting"]
    if jobs["in_progress"] is not None:
        parts.append(f"{jobs['in_progress']:,} in progress")
    if jobs["left_behind"]:
        parts.append(f"{jobs['left_behind']:,} of these left by workers that are gone")
    return f"Jobs in the broker: {', '.join(parts)}."


def _states(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items()))

"""The commands that run the fleet and show its state: up, worker, beat, status."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import (
    FAILED,
    Json,
    ago,
    app,
    enable_telemetry,
    fail,
    open_store_runtime,
    say,
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
    runtime = open_store_runtime(log="info")
    enable_telemetry(runtime, "worker")
    run_worker(chosen, metrics_port or runtime.settings.metrics.port)


@app.command()
def beat(metrics_port: MetricsPort = None) -> None:
    """Run the scheduler. A second one does no harm."""
    from worker.fleet.processes import run_beat

    runtime = open_store_runtime(log="info")
    enable_telemetry(runtime, "beat")
    run_beat(metrics_port or runtime.settings.metrics.beat_port)


@app.command()
def status(
    rejected: Annotated[bool, typer.Option("--rejected", help="List the rejected CRM records with reasons.")] = False,
    contacts: Annotated[
        str | None, typer.Option(help="List contacts in this state: due, unknown, rejected, ...")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="List at most this many.")] = 50,
    json: Json = False,
) -> None:
    """Show the state of everything, and what waits for you."""
    from dataclasses import asdict

    from worker.contacts.links import RecordLinks
    from worker.core.states import PushState
    from worker.doctor.status import contacts_in, overview, rejected_records

    if contacts is not None and contacts not in set(PushState):
        usage(f'there is no state "{contacts}"; there are: {", ".join(PushState)}')
    runtime = open_store_runtime()
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
            )
            say("Correct them in the CRM; the next sync reads them again." if records else "No record is rejected.")
    elif contacts is not None:
        stuck = contacts_in(runtime, contacts, limit)
        if json:
            show_json(stuck)
        else:
            table(
                ["Account", "Phone", "Name", "State", "#Attempts", "Last", "Why"],
                ((s.account, s.phone, s.full_name, s.state, s.attempts, ago(s.attempted_at), s.error) for s in stuck),
            )
            say("" if stuck else f"No contact is {contacts}.")
    else:
        found = overview(runtime)
        if json:
            show_json(found.as_json())
        else:
            _show(found)


@app.command("dead-letters")
def show_dead_letters(
    clear: Annotated[bool, typer.Option("--clear", help="Delete the list, once the senders are corrected.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="List at most this many.")] = 50,
    json: Json = False,
) -> None:
    """List messages of the broker that were refused, with reasons. Their content is not kept."""
    from worker.core.text import counted
    from worker.inbox.dead_letters import clear_dead_letters, dead_letters

    runtime = open_store_runtime()
    if clear:
        count = clear_dead_letters(runtime)
        say(f"{counted(count, 'dead letter was', 'dead letters were')} deleted.")
        return
    found = dead_letters(runtime, limit)
    if json:
        show_json(found)
        return
    table(
        ["Last", "#Times", "Queue", "Task", "Id", "#Bytes", "The message was refused because"],
        ((ago(d.last_at), d.times, d.queue, d.task, d.message_id, d.size, d.reason) for d in found),
    )
    say(
        "Correct the senders and let them send again; then run `vtsync dead-letters --clear`."
        if found
        else "No message was refused."
    )


def _show(found: Overview) -> None:
    from worker.doctor.status import attention_text

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
    )
    table(
        ["Account", "Contacts", "Messages"],
        ((a.name, _states(a.contacts) or "none", _states(a.messages) or "none") for a in found.accounts),
    )
    for account in found.accounts:
        if not account.stopped and account.paused_until and account.paused_until > datetime.now(UTC):
            days = (account.paused_until - datetime.now(UTC)).days
            until = "" if days > 365 else f" until {ago(account.paused_until)}"
            say(f"{account.name} is paused{until}: {account.pause_reason}", "yellow")
    for connection in found.connections:
        if connection.error and connection.error not in connection.note:
            say(f"{connection.name}: {connection.error}", "yellow")
        if connection.note:
            say(f"{connection.name} {connection.note}", "yellow")
        for budget in connection.budgets:
            say(f"{connection.name}: {budget}")
    for file in found.configuration:
        say(
            f"{file.place} was changed {ago(file.since)} and cannot be used; processes keep the previous configuration:"
        )
        say(file.problem, "yellow")
    if found.attention:
        say("Waiting for you:", "bold")
        for one in found.attention:
            say(f"  {attention_text(one)}: `{one.command}`", "yellow")
    elif not found.configuration:
        say("Nothing waits for you.")


def _states(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items()))

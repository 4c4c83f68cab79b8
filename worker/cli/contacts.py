"""The commands for contacts: plan and sync."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import (
    FAILED,
    MOST_LISTED,
    Json,
    app,
    chosen_connections,
    fail,
    open_store_runtime,
    say,
    show_json,
    table,
)
from worker.cli.interruption import stopping_safely
from worker.cli.progress import progress
from worker.core.text import counted

if TYPE_CHECKING:
    from worker.contacts.plan import Plan, PlannedContact
    from worker.contacts.pull import SyncReport
    from worker.runtime import Runtime

Names = Annotated[list[str] | None, typer.Argument(metavar="CONNECTION", help="Default: all enabled connections.")]


@app.command()
def plan(
    connections: Names = None,
    limit: Annotated[
        int, typer.Option(min=0, max=MOST_LISTED, help="Show at most this many contacts and texts of each kind.")
    ] = 20,
    json: Json = False,
) -> None:
    """Show what a sync would create, update and text. Changes nothing."""
    from crm_adapters.base import AdapterError
    from worker.contacts.plan import plan_connection

    runtime = open_store_runtime()
    plans: list[Plan] = []
    failures: list[str] = []
    for name in chosen_connections(runtime, connections):
        with progress(f"{name}: reading") as report:
            try:
                plans.append(plan_connection(runtime, name, progress=report))
            except AdapterError as error:
                failures.append(f"{name}: {error}")
    if json and not failures:
        show_json(plans)
        return
    for one in plans if not json else ():
        show_plan(one, limit)
    if failures:
        fail("\n".join(failures), FAILED)
    _say_test_mode(runtime)


@app.command()
def sync(
    connections: Names = None,
    accept_removals: Annotated[
        bool, typer.Option("--accept-removals", help="Accept that missing records were deleted, however many they are.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Read every record, not only what changed.")] = False,
    push: Annotated[bool, typer.Option("--push/--no-push", help="Also push contacts to VirtualText.")] = True,
    texts: Annotated[bool, typer.Option("--texts/--no-texts", help="Also send due texts.")] = True,
    queue: Annotated[
        bool, typer.Option("--queue", help="Leave the work to the running workers, and return at once.")
    ] = False,
    json: Json = False,
) -> None:
    """Pull from the CRMs, push to VirtualText, and send due texts."""
    runtime = open_store_runtime()
    names = chosen_connections(runtime, connections)
    if queue:
        _queue(names, accept_removals, full, json)
        return
    accounts = list(dict.fromkeys(runtime.settings.connections[name].account for name in names))
    with stopping_safely(runtime):
        reports = [_pull(runtime, name, accept_removals, full) for name in _until_stopped(runtime, names)]
        pushes = [_push(runtime, account) for account in _until_stopped(runtime, accounts) if push]
        deliveries = {account: _deliver(runtime, account) for account in _until_stopped(runtime, accounts) if texts}
        if json:
            show_json({"syncs": reports, "pushes": pushes, "texts": deliveries})
        else:
            _show_sync(reports, pushes, deliveries)
            _say_test_mode(runtime)
            if runtime.stop.requested:
                say("Stopped before everything was done. Nothing is lost: run the command again to continue.", "yellow")
        if any(not report.ok for report in reports) or any(one.deferred for one in pushes):
            raise typer.Exit(FAILED)


def _say_test_mode(runtime: Runtime) -> None:
    from worker.messages.simulation import notes_on_test_mode

    for note in notes_on_test_mode(runtime.settings):
        say(note, "yellow")


def _until_stopped(runtime: Runtime, names: Iterable[str]) -> Iterator[str]:
    return takewhile(lambda _: not runtime.stop.requested, names)


def _queue(names: list[str], accept_removals: bool, full: bool, json: bool) -> None:
    from worker.tasks import sync_connection

    tasks = {name: sync_connection.delay(name, accept_removals=accept_removals, full=full).id for name in names}
    if json:
        show_json([{"connection": name, "task_id": task} for name, task in tasks.items()])
        return
    for name, task in tasks.items():
        say(f"{name}: queued as task {task}; `vtsync status` shows its progress")


def _pull(runtime: Runtime, name: str, accept_removals: bool, full: bool) -> SyncReport:
    from worker.contacts.pull import sync_connection

    with progress(f"{name}: reading") as report:
        return sync_connection(
            runtime,
            name,
            accept_removals=accept_removals,
            full=full,
            after_page=lambda counts, total: report(counts.seen, total),
        )


def _push(runtime: Runtime, account: str):  # type: ignore[no-untyped-def] # a PushReport; imported late
    from worker.contacts.push import push_account

    with progress(f"{account}: pushing to VirtualText") as report:
        return push_account(runtime, account, progress=report)


def _deliver(runtime: Runtime, account: str):  # type: ignore[no-untyped-def] # a DeliveryReport; imported late
    from worker.messages.delivery import deliver_due

    with progress(f"{account}: sending texts") as report:
        return deliver_due(runtime, account=account, progress=report)


def _show_sync(reports: list[SyncReport], pushes: list, deliveries: dict) -> None:  # type: ignore[type-arg]
    table(
        ["Connection", "State", "#Seen", "#Unchanged", "#New", "#Changed", "#Removed", "#Rejected", "#Texts"],
        (
            (r.connection, r.state, r.seen, r.unchanged, r.added, r.changed, r.removed, r.rejected, r.messages)
            for r in reports
        ),
        lead=("Connection", "State"),
    )
    table(
        ["Account", "#Created", "#Updated", "#Adopted", "#Refused", "#Unknown", "#Retrying"],
        ((p.account, p.created, p.updated, p.adopted, p.rejected, p.unknown, p.retrying) for p in pushes),
    )
    _show_texts(deliveries)
    for report in reports:
        if report.error:
            say(f"{report.connection}: {report.error}", "yellow")
        for note in report.notes:
            say(f"{report.connection}: {note}")
        if report.held:
            say(
                f"{report.connection}: {counted(report.held, 'text waits', 'texts wait')} for approval:"
                f" `vtsync approve {report.batch_id}`",
                "yellow",
            )
        for why in report.waits:
            say(f"{report.connection}: {why}", "yellow")
        if report.rejected:
            say(
                f"{report.connection}: {counted(report.rejected, 'record was', 'records were')} rejected:"
                " `vtsync status --rejected` shows why",
                "yellow",
            )
    for one in pushes:
        if one.deferred:
            say(f"{one.account}: {one.deferred}", "yellow")
        if one.unknown:
            say(
                f"{one.account}: {counted(one.unknown, 'create')} without a response; each is looked up before it"
                " is repeated",
                "yellow",
            )


def _show_texts(deliveries: dict) -> None:  # type: ignore[type-arg]
    for account, delivery in deliveries.items():
        done = [f"{count:,} {_TEXT_STATES.get(name, name)}" for name, count in _counts(delivery).items() if count]
        if done:
            say(f"Texts of {account}: {', '.join(done)}. `vtsync messages` shows each one, and why.")
        for _, why in delivery.waiting:
            say(f"{account}: texts wait: {why}", "yellow")


_TEXT_STATES = {"requeued": "for later", "held": "held for a person", "unknown": "without a response"}


def _counts(delivery: object) -> dict[str, int]:
    from dataclasses import asdict

    return {name: value for name, value in asdict(delivery).items() if isinstance(value, int)}  # type: ignore[call-overload]


def show_plan(plan: Plan, limit: int) -> None:
    """Print what a sync would do."""
    say(f"{plan.connection}: {counted(plan.seen, 'record')} read, {plan.unchanged:,} unchanged", "bold")
    for note in plan.notes:
        say(f"  {note}")
    if plan.refused:
        say(f"  {plan.refused}", "yellow")
    for title, contacts in (
        ("would be created", plan.creates),
        ("would be updated", plan.updates),
        ("already in VirtualText would be adopted", plan.adopts),
    ):
        _show_contacts(title, contacts, limit)
    table(
        ["Trigger", "To", "#Segments", "Encoding", "Text"],
        (
            (t.trigger, t.phone, t.segments, t.encoding, f"not sent: {t.problem}" if t.problem else t.text)
            for t in plan.texts[:limit]
        ),
        f"{counted(len(plan.texts), 'text')} would be queued" if plan.texts else "",
        lead=("To", "Trigger"),
    )
    table(
        ["Record", "Where", "Why"],
        ((r.key, r.where, r.reason) for r in plan.rejections[:limit]),
        f"{counted(len(plan.rejections), 'record')} would be rejected" if plan.rejections else "",
    )
    if plan.removed:
        say(f"  deleted in the CRM: {counted(len(plan.removed), 'record')}; the contacts in VirtualText stay")
    say("Nothing was changed. Run `vtsync sync` to do it.")
    say()


def _show_contacts(title: str, contacts: list[PlannedContact], limit: int) -> None:
    more = f" (first {limit})" if len(contacts) > limit else ""
    table(
        ["Phone", "Name", "Email", "Before"],
        ((c.phone, c.full_name, c.email, c.before) for c in contacts[:limit]),
        f"{counted(len(contacts), 'contact')} {title}{more}" if contacts else "",
    )

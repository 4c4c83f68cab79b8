"""The command ``vtsync reconcile opt-outs``: compares our opt-outs with VirtualText, the carriers and the CRMs."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.common import FAILED, Json, actor, app, open_store_runtime, say, show_json
from worker.cli.group import Group
from worker.cli.progress import progress

reconcile = typer.Typer(
    cls=Group, no_args_is_help=True, help="Compare with the other systems what must not differ.", rich_markup_mode=None
)
app.add_typer(reconcile, name="reconcile")


@reconcile.callback()
def group() -> None:
    """Compare with the other systems what must not differ."""


@reconcile.command("opt-outs")
def reconcile_opt_outs(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what differs. Changes nothing.")] = False,
    json: Json = False,
) -> None:
    """Compare our opt-outs with VirtualText's contact list, the carriers' lists and the CRM records.

    Opt-outs that are missing here are added. CRM records that do not show an opt-out are written again by the running
    workers. An opt-out that only we have stays. Exits with 1 if a system that should answer did not.
    """
    from worker.upkeep import reconcile_opt_outs as work

    runtime, failed = open_store_runtime(), False
    results: list[work.ReconciledSystem] = []
    systems = work.reconcile_opt_outs(
        runtime, actor=actor(), dry_run=dry_run, progress=lambda done, total: report(done, total)
    )
    steps = len(runtime.settings.accounts) + len(runtime.settings.carriers) + 1  # the last one: all CRM records
    while True:
        step = min(len(results) + 1, steps)
        with progress(f"comparing opt-outs, step {step} of {steps}") as report:  # ends before its result is printed
            one = next(systems, None)
        if one is None:
            break
        failed |= one.failed
        results.append(one)
        if not json:
            say(f"{one.system}: {one.result}.", None if one.asked else "yellow")
    if json:
        show_json(results)
    elif dry_run:
        say("Nothing was changed.")
    if failed:
        raise typer.Exit(FAILED)

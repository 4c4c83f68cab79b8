"""The commands for the maintenance of the store: prune, restored."""

from __future__ import annotations

from collections.abc import Callable
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
    open_store_runtime,
    say,
    show_json,
    table,
)
from worker.cli.interruption import stopping_safely
from worker.cli.progress import progress
from worker.core.text import counted

if TYPE_CHECKING:
    from worker.upkeep.restore import Restored


@app.command()
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be deleted.")] = False,
    json: Json = False,
) -> None:
    """Delete old rows, as configured in [retention]. Running workers do this automatically."""
    from worker.store.models import utcnow
    from worker.upkeep.retention import AlreadyPruning, what_would_go
    from worker.upkeep.retention import prune as apply

    runtime = open_store_runtime()
    with stopping_safely(runtime):
        with progress("counting old rows, by kind") as report:
            pruned = what_would_go(runtime, utcnow(), report)
        if not dry_run:
            total = sum(one.count for one in pruned)
            try:
                with progress("deleting old rows") as report:
                    pruned = apply(runtime, utcnow(), progress=lambda done, _unknown: report(done, total))
            except AlreadyPruning as error:
                fail(str(error), FAILED)
        if json:
            show_json(pruned)
            return
        found = [one for one in pruned if one.count]
        table(["What", "#Would be deleted" if dry_run else "#Deleted"], ((one.what, f"{one.count:,}") for one in found))
        if not found:
            say("Nothing is old enough to be deleted; [retention] configures how long rows are kept.")


@app.command()
def restored(
    yes: Annotated[bool, typer.Option("--yes", help="Do it without a question.")] = False,
    json: Json = False,
) -> None:
    """Make a store that was restored from a backup safe to use.

    Run it before you start any process. It shows what it will do, and asks.
    """
    from worker.store.models import utcnow
    from worker.upkeep.restore import FleetRuns, after_restore, rehearse_restore

    runtime = open_store_runtime()
    try:
        if not yes:
            _show_restore(rehearse_restore(runtime, actor(), utcnow()), complain)
            confirm("Is this store a restored backup, and shall this be done?", yes=yes)
        done = after_restore(runtime, actor(), utcnow())
    except FleetRuns as error:
        fail(str(error), FAILED)
    if json:
        show_json(done)
        return
    if yes:
        _show_restore(done, say)
    say("Done. Before you start the fleet:")
    for step in (
        "STOPs that arrived since the backup are lost. VirtualText refuses texts to the numbers that it knows of; enter"
        " the others with `vtsync opt-out NUMBER`",
        "Jobs that services sent since the backup are lost, with their idempotency keys: no service may repeat them",
        "API keys that you revoked since the backup are valid again: `vtsync keys revoke`",
        "If VirtualText cannot list an account's contacts (`vtsync status` shows it), contacts created since the backup"
        " would be created again: give a new export of them with `vtsync link ACCOUNT --from FILE`",
        "If you restored the queue too, empty it: see docs/operations.md",
    ):
        say(f"  - {step}", hang=4)


def _show_restore(done: Restored, show: Callable[[str], None]) -> None:
    """Show what is done, in the same words before and after."""
    show(f"Last event in the store: {ago(done.known_until)}.")
    show(f"  texts that may have been sent since, held for you (`vtsync status`): {done.texts_held}")
    if done.texts_held_before:
        show(f"  texts held by an earlier run, which stay held: {done.texts_held_before}")
    show(f"  triggers that take the next sync as their baseline, which texts nobody: {done.triggers}")
    if done.connections:
        show(f"  connections with such a sync: {', '.join(done.connections)}")
    show(f"  past dates that no longer fire: {done.dates}")
    show(f"  contacts that are looked up in VirtualText before they are created: {done.contacts_looked_up}")
    for one in done.accounts:
        texts, contacts = counted(one.texts_held, "text"), counted(one.contacts_looked_up, "contact")
        show(f"  account {one.name}: {texts}, {contacts}")
    show("  held texts stay held until you run `vtsync approve` or `vtsync cancel`")

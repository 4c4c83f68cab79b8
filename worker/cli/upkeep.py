"""The commands for the maintenance of the store: prune, restored."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.common import FAILED, Json, actor, ago, app, fail, open_store_runtime, say, show_json, table


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
    try:
        pruned = what_would_go(runtime, utcnow()) if dry_run else apply(runtime, utcnow())
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
def restored(json: Json = False) -> None:
    """Make a store that was restored from a backup safe to use.

    Run it before you start any process.
    """
    from worker.store.models import utcnow
    from worker.upkeep.restore import FleetRuns, after_restore

    runtime = open_store_runtime()
    try:
        done = after_restore(runtime, actor(), utcnow())
    except FleetRuns as error:
        fail(str(error), FAILED)
    if json:
        show_json(done)
        return
    say(f"Last event in the store: {ago(done.known_until)}.", "bold")
    say(f"  texts that may have been sent since, held for you (`vtsync status`): {done.texts_held}")
    say(f"  triggers that take the next sync as their baseline, which texts nobody: {done.triggers}")
    say(f"  past dates that no longer fire: {done.dates}")
    say(f"  contacts that are looked up in VirtualText before they are created: {done.contacts_looked_up}")
    say("Before you start the fleet:")
    for step in (
        "STOPs that arrived since the backup are lost. VirtualText refuses texts to the numbers that it knows of; enter"
        " the others with `vtsync opt-out NUMBER`",
        "Jobs that services sent since the backup are lost, with their idempotency keys: no service may repeat them",
        "API keys that you revoked since the backup are valid again: `vtsync keys revoke`",
        "If you restored the queue too, empty it: see docs/operations.md",
    ):
        say(f"  - {step}", hang=4)

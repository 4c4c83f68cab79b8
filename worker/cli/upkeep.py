"""The commands about the store itself: prune, restored."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.common import FAILED, Json, actor, ago, app, fail, open_store_runtime, say, show_json, table


@app.command()
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would go.")] = False,
    json: Json = False,
) -> None:
    """Forget what is over, as [retention] says; running workers do it by themselves."""
    from worker.store.models import utcnow
    from worker.upkeep.retention import AlreadyPruning, what_would_go
    from worker.upkeep.retention import prune as sweep

    runtime = open_store_runtime()
    try:
        swept = what_would_go(runtime, utcnow()) if dry_run else sweep(runtime, utcnow())
    except AlreadyPruning as error:
        fail(str(error), FAILED)
    if json:
        show_json(swept)
        return
    found = [one for one in swept if one.count]
    table(["What", "#Would go" if dry_run else "#Gone"], ((one.what, f"{one.count:,}") for one in found))
    if not found:
        say("Nothing is old enough to go; [retention] says how long what is over is kept.")


@app.command()
def restored(json: Json = False) -> None:
    """Make a store that was restored from a backup safe: hold what may have been sent since. Before anything starts."""
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
    say(f"The last that the store knows of: {ago(done.known_until)}.", "bold")
    say(f"  texts that may have been sent since, held for you (`vtsync status`): {done.texts_held}")
    say(f"  triggers that take what the next sync reads for their baseline, and text nobody for it: {done.triggers}")
    say(f"  dates that have passed and fire nothing: {done.dates}")
    say(f"  contacts that are looked up in VirtualText before they are created: {done.contacts_looked_up}")
    say("Now, before you start the fleet:")
    say("  - STOPs that came in since are not known here. VirtualText refuses texts to those that it knows of;")
    say("    enter the others with `vtsync opt-out NUMBER`")
    say("  - jobs that services handed over since are not known here, nor their idempotency keys: have none repeated")
    say("  - API keys that you revoked since are valid again: `vtsync keys revoke`")
    say("  - if the queue was restored, too, empty it: see docs/operations.md")

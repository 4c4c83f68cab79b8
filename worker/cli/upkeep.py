"""The command that keeps the store small: prune."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.common import FAILED, Json, app, fail, open_store_runtime, say, show_json, table


@app.command()
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would go.")] = False,
    json: Json = False,
) -> None:
    """Forget what is over, as [retention] says; running workers do it by themselves."""
    from worker.pruning import AlreadyPruning, what_would_go
    from worker.pruning import prune as sweep
    from worker.store.models import utcnow

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

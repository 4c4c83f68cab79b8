"""The commands about deliveries to CRMs and services: forwards list, forwards retry."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.common import Json, ago, app, open_store_runtime, say, show_json, table, usage

forwards = typer.Typer(
    no_args_is_help=True, help="Deliveries of texts and opt-outs to CRMs and services.", rich_markup_mode=None
)
app.add_typer(forwards, name="forwards")

Target = Annotated[
    str | None, typer.Option("--target", help="Such as subscriber:shop, crm:people:17, or crm:people:* .")
]


@forwards.command("list")
def list_forwards(
    failed: Annotated[bool, typer.Option("--failed", help="Only those that were given up.")] = False,
    target: Target = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 50,
    json: Json = False,
) -> None:
    """List deliveries, the newest first."""
    from worker.forward.listing import find_forwards

    found = find_forwards(open_store_runtime(), state="failed" if failed else None, target=target, limit=limit)
    if json:
        show_json(found)
        return
    if not found:
        say("No delivery was given up." if failed else "There are no deliveries.")
    rows = (
        (one.id, one.target, one.type, one.state, one.attempts, ago(one.created_at), one.last_error) for one in found
    )
    table(("#Id", "Target", "Event", "State", "#Tries", "Since", "Last error"), rows)


@forwards.command("retry")
def retry(
    ids: Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="As `vtsync forwards list` shows.")] = None,
    target: Target = None,
    everything: Annotated[bool, typer.Option("--all", help="All that were given up.")] = False,
) -> None:
    """Try deliveries again that were given up."""
    from worker.forward.listing import retry_forwards
    from worker.hints import hint

    if not (ids or target or everything):
        usage("say which: ids, --target, or --all")
    count = retry_forwards(open_store_runtime(), ids=ids or (), target=target)
    if count:
        hint("vtsync.forward_events")
    say(f"{count} {'delivery is' if count == 1 else 'deliveries are'} tried again.")

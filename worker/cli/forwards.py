"""The commands about deliveries to CRMs and services: forwards list, forwards retry."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.common import FAILED, Json, ago, app, fail, open_store_runtime, say, show_json, table, usage

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
    from worker.deliveries.listing import find_deliveries

    found = find_deliveries(open_store_runtime(), state="failed" if failed else None, target=target, limit=limit)
    if json:
        show_json(found)
        return
    if not found:
        about = f" for {target}" if target else ""
        say(f"No delivery{about} was given up." if failed else f"There are no deliveries{about}.")
    rows = (
        (
            *(one.id, one.target, one.type, one.state, one.attempts, ago(one.created_at)),
            ago(one.due_at) if one.state == "due" else "",
            one.last_error,
        )
        for one in found
    )
    table(("#Id", "Target", "Event", "State", "#Tries", "Since", "Next try", "Last error"), rows)
    if any(one.state == "failed" for one in found):
        say("When the cause is removed: `vtsync forwards retry ID`, or --target, or --all-failed.")


@forwards.command("retry")
def retry(
    ids: Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="As `vtsync forwards list` shows.")] = None,
    target: Target = None,
    all_failed: Annotated[bool, typer.Option("--all-failed", help="All that were given up.")] = False,
    json: Json = False,
) -> None:
    """Try deliveries again now: those that were given up, and with ids or --target also those that wait."""
    from worker.deliveries.listing import retry_deliveries
    from worker.fleet.wake import hint

    if not (ids or target or all_failed):
        usage("say which: ids (`vtsync forwards list` shows them), --target, or --all-failed")
    count = retry_deliveries(open_store_runtime(), ids=ids or (), target=target, failed_only=all_failed)
    if count:
        hint("vtsync.forward_events")
    if json:
        show_json({"retried": count})
    elif count:
        say(f"{count} {'delivery is' if count == 1 else 'deliveries are'} tried again.")
    elif not ids:
        say("There is nothing to try again.")
    if ids and count < len(set(ids)):
        fail(f"{len(set(ids)) - count} of them neither wait nor were given up: see `vtsync forwards list`", FAILED)

"""The commands for deliveries to CRMs and services: forwards list, forwards retry."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.common import (
    FAILED,
    MOST_LISTED,
    Json,
    ago,
    app,
    fail,
    open_store_runtime,
    say,
    show_json,
    table,
    usage,
)
from worker.cli.group import Group

forwards = typer.Typer(
    cls=Group, no_args_is_help=True, help="List and retry deliveries to CRMs and services.", rich_markup_mode=None
)
app.add_typer(forwards, name="forwards")

Target = Annotated[
    str | None, typer.Option("--target", help="The receiver, such as subscriber:shop, crm:people:17 or crm:people:*")
]


@forwards.command("list")
def list_forwards(
    failed: Annotated[bool, typer.Option("--failed", help="Only failed deliveries (given up).")] = False,
    target: Target = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST_LISTED, help="List at most this many, newest first.")] = 50,
    json: Json = False,
) -> None:
    """List deliveries, newest first."""
    from worker.deliveries.listing import find_deliveries

    found = find_deliveries(open_store_runtime(), state="failed" if failed else None, target=target, limit=limit)
    if json:
        show_json(found)
        return
    if not found:
        about = f" for {target}" if target else ""
        say(f"There are no failed deliveries{about}." if failed else f"There are no deliveries{about}.")
    rows = (
        (
            *(one.id, one.target, one.type, one.state, one.attempts, ago(one.created_at)),
            ago(one.due_at) if one.state == "due" else "",
            one.last_error,
        )
        for one in found
    )
    columns = ("#Id", "Target", "Event", "State", "#Tries", "Since", "Next try", "Last error")
    table(columns, rows, lead=("Id", "State", "Since"))
    if any(one.state == "failed" for one in found):
        say("Fix the cause, then run `vtsync forwards retry` with an ID, --target or --all-failed.")


@forwards.command("retry")
def forwards_retry(
    ids: Annotated[
        list[int] | None, typer.Argument(min=1, max=2**63 - 1, metavar="ID", help="Ids from `vtsync forwards list`.")
    ] = None,
    target: Target = None,
    all_failed: Annotated[bool, typer.Option("--all-failed", help="All failed deliveries.")] = False,
    json: Json = False,
) -> None:
    """Retry failed deliveries now.

    With ids or --target, also retry deliveries that wait for their next attempt.
    """
    from worker.core.text import counted
    from worker.deliveries.listing import retry_deliveries
    from worker.fleet.wake import wake

    if not (ids or target or all_failed):
        usage("name ids (`vtsync forwards list` shows them), --target, or --all-failed")
    count = retry_deliveries(open_store_runtime(), ids=ids or (), target=target, failed_only=all_failed)
    if count:
        wake("vtsync.forward_events")
    if json:
        show_json({"retried": count})
    elif count:
        say(f"Retrying {counted(count, 'delivery', 'deliveries')}.")
    elif not ids:
        say("There is nothing to retry.")
    if ids and count < len(set(ids)):
        skipped = counted(len(set(ids)) - count, "id")
        fail(f"{skipped} not retried: done, being sent, or unknown; see `vtsync forwards list`", FAILED)

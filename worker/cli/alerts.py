"""The commands for alerts: alerts list, alerts test."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.common import FAILED, Json, ago, app, open_store_runtime, say, show_json, table, usage
from worker.cli.group import Group

alerts = typer.Typer(cls=Group, no_args_is_help=True, help="See alerts, and test where they go.", rich_markup_mode=None)
app.add_typer(alerts, name="alerts")


@alerts.command("list")
def list_alerts(json: Json = False) -> None:
    """List the alerts that are open, oldest first."""
    from worker.alerts.listing import open_alerts

    runtime = open_store_runtime(shows=True)
    found = open_alerts(runtime)
    if json:
        show_json(found)
        return
    if not found:
        say("No alert is open.")
    if not runtime.settings.alerts.channels:
        say("Nobody is told of alerts: there is no [alerts.channels.NAME] (docs/monitoring.md).")
        say("`vtsync status` shows what waits for you.")
    rows = (
        (
            *(one.kind, "yes" if one.urgent else "", one.found, ago(one.since)),
            ago(one.told_at) if one.told_at else "not yet",
        )
        for one in found
    )
    table(("Alert", "Urgent", "What", "Since", "Told"), rows, lead=("Alert", "Since"))


@alerts.command("test")
def try_alerts(
    channel: Annotated[str | None, typer.Argument(help="The channel (default: all).")] = None,
    json: Json = False,
) -> None:
    """Send a test to the channels now, and say what each answered."""
    from worker.deliveries.alert_channels import try_channel

    channels = open_store_runtime(ensure_store=False).settings.alerts.channels
    if not channels:
        usage("there is no channel; add [alerts.channels.NAME], see docs/monitoring.md")
    if channel is not None and channel not in channels:
        usage(f'there is no channel "{channel}"; there are: {", ".join(channels)}')
    chosen = [channel] if channel is not None else list(channels)
    problems = {name: try_channel(channels[name]) for name in chosen}
    if json:
        show_json([{"channel": name, "accepted": not why, "problem": why} for name, why in problems.items()])
    else:
        for name, why in problems.items():
            say(f"{name}: {why}" if why else f"{name}: accepted; look if it has arrived", "red" if why else None)
    if any(problems.values()):
        raise typer.Exit(FAILED)

"""The commands for incoming events: relay register, url, show, retry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import (
    FAILED,
    MOST_LISTED,
    USAGE,
    Json,
    ago,
    app,
    fail,
    open_store_runtime,
    say,
    show_done,
    show_json,
    table,
    usage,
)
from worker.cli.group import Group

if TYPE_CHECKING:
    from worker.runtime import Runtime

relay = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Manage incoming events of VirtualText's Relay and of carriers.",
    rich_markup_mode=None,
)
app.add_typer(relay, name="relay")

Account = Annotated[str | None, typer.Option("--account", help="The account (default: the only one).")]


@relay.command("register")
def register(account: Account = None, json: Json = False) -> None:
    """Make VirtualText post the account's messages to `vtsync web`."""
    from worker.virtualtext.outcomes import Cause

    runtime = open_store_runtime()
    name, url = _url(runtime, account)
    outcome = runtime.client(name).register_relay(url)
    if outcome.done:
        said = (
            f"VirtualText now posts the messages of {name} to {_hide_secret(url)}."
            " Send one to see it in `vtsync relay show`."
        )
        show_done(json, {"account": name, "url": _hide_secret(url)}, said)
        return
    by_hand = "Set the address by hand in VirtualText's web app; `vtsync relay url --show-secret` prints it."
    if outcome.cause is Cause.CREDENTIALS:
        fail(f"VirtualText does not let this account set the address ({outcome.detail}). {by_hand}", FAILED)
    doubt = "It may have been set anyway. " if outcome.unknown else ""
    fail(f"VirtualText did not confirm the address ({outcome.detail}). {doubt}Try again, or: {by_hand}", FAILED)


@relay.command("url")
def url(
    account: Account = None,
    show_secret: Annotated[
        bool, typer.Option("--show-secret", help="Include the secret. Anyone who has it can post events.")
    ] = False,
    json: Json = False,
) -> None:
    """Print the address to which VirtualText posts."""
    name, found = _url(open_store_runtime(), account)
    shown = found if show_secret else _hide_secret(found)
    if json:
        show_json({"account": name, "url": shown})
    else:
        typer.echo(shown)


@relay.command("show")
def show(
    limit: Annotated[int, typer.Option(min=1, max=MOST_LISTED, help="List at most this many failed events.")] = 20,
    json: Json = False,
) -> None:
    """Count incoming events by state, and list the failed ones."""
    from worker.inbox.listing import failed_events, inbox_counts

    runtime = open_store_runtime()
    counts, failed = inbox_counts(runtime), failed_events(runtime, limit)
    if json:
        show_json({"counts": counts, "failed": failed})
        return
    if not counts:
        say(
            "No event has arrived yet. `vtsync relay register` makes VirtualText post them, `vtsync web` receives them."
        )
    rows = ((one.source, one.name, one.state, one.count, ago(one.newest)) for one in counts)
    table(("From", "Name", "State", "#Events", "Newest"), rows)
    table(
        ("#Id", "From", "Received", "Problem"),
        ((one.id, f"{one.source} {one.name}", ago(one.received_at), one.detail) for one in failed),
        lead=("Id", "From", "Received"),
    )
    if failed:
        say("Fix the cause, then run `vtsync relay retry`.")


@relay.command("retry")
def relay_retry(json: Json = False) -> None:
    """Process the failed events again."""
    from worker.core.text import counted
    from worker.fleet.wake import wake
    from worker.inbox.listing import retry_failed

    count = retry_failed(open_store_runtime())
    if count:
        wake("vtsync.process_inbox")
    show_done(json, {"retried": count}, f"Retrying {counted(count, 'event')}.")


def _url(runtime: Runtime, account: str | None) -> tuple[str, str]:
    settings = runtime.settings
    names = [name for name, one in settings.accounts.items() if one.relay_secret is not None]
    if account is None and len(names or settings.accounts) == 1:
        account = next(iter(names or settings.accounts))
    found = settings.accounts.get(account or "")
    if found is None:
        usage(f"name one of the accounts with --account: {', '.join(settings.accounts)}")
    if found.relay_secret is None:
        fail(f"set accounts.{account}.relay_secret first; `openssl rand -hex 24` creates one", USAGE)
    if settings.web.public_url is None:
        fail("set web.public_url first: the address at which VirtualText reaches `vtsync web`", USAGE)
    return str(account), f"{settings.web.public_url.rstrip('/')}/relay/{found.relay_secret.get_secret_value()}"


def _hide_secret(url: str) -> str:
    return f"{url.rpartition('/')[0]}/[hidden]"

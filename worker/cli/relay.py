"""The commands about what comes in: relay register, url, show, retry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import FAILED, USAGE, Json, ago, app, fail, open_store_runtime, say, show_json, table, usage

if TYPE_CHECKING:
    from worker.runtime import Runtime

relay = typer.Typer(
    no_args_is_help=True, help="What VirtualText's Relay and the carriers tell us.", rich_markup_mode=None
)
app.add_typer(relay, name="relay")

Account = Annotated[str | None, typer.Option("--account", help="Which account (default: the only one).")]


@relay.command("register")
def register(account: Account = None) -> None:
    """Have VirtualText post the account's texts to us."""
    from worker.virtualtext.outcomes import Cause

    runtime = open_store_runtime()
    name, url = _url(runtime, account)
    outcome = runtime.client(name).register_relay(url)
    if outcome.done:
        say(f"VirtualText posts the texts of {name} to {_hidden(url)} now. Send one to see it in `vtsync relay show`.")
        return
    by_hand = "Set it by hand in VirtualText's web app; `vtsync relay url --show-secret` prints it whole."
    if outcome.cause is Cause.CREDENTIALS:
        fail(f"VirtualText does not let this account set it ({outcome.detail}). {by_hand}", FAILED)
    doubt = "It may have been set all the same. " if outcome.unknown else ""
    fail(f"It was not confirmed ({outcome.detail}). {doubt}Try again, or: {by_hand}", FAILED)


@relay.command("url")
def url(
    account: Account = None,
    show_secret: Annotated[
        bool, typer.Option("--show-secret", help="Print it whole: whoever has it can post.")
    ] = False,
) -> None:
    """Print the address that VirtualText posts to."""
    _, found = _url(open_store_runtime(), account)
    typer.echo(found if show_secret else _hidden(found))


@relay.command("show")
def show(
    limit: Annotated[int, typer.Option(min=1, help="How many failed events to list.")] = 20, json: Json = False
) -> None:
    """How what came in stands, and what was not understood."""
    from worker.inbox.listing import failed_events, inbox_counts

    runtime = open_store_runtime()
    counts, failed = inbox_counts(runtime), failed_events(runtime, limit)
    if json:
        show_json({"counts": counts, "failed": failed})
        return
    if not counts:
        say("Nothing has come in yet. `vtsync relay register` has VirtualText post to us; `vtsync web` takes it.")
    rows = ((one.source, one.name, one.state, one.count, ago(one.newest)) for one in counts)
    table(("From", "Name", "State", "#Events", "Newest"), rows)
    table(
        ("#Id", "From", "Came", "What is wrong"),
        ((one.id, f"{one.source} {one.name}", ago(one.received_at), one.detail) for one in failed),
    )
    if failed:
        say("After correcting what is wrong: `vtsync relay retry`.")


@relay.command("retry")
def retry() -> None:
    """Work through the failed events once more."""
    from worker.fleet.wake import wake
    from worker.inbox.listing import retry_failed

    count = retry_failed(open_store_runtime())
    if count:
        wake("vtsync.process_inbox")
    say(f"{count} {'event is' if count == 1 else 'events are'} worked through again.")


def _url(runtime: Runtime, account: str | None) -> tuple[str, str]:
    settings = runtime.settings
    names = [name for name, one in settings.accounts.items() if one.relay_secret is not None]
    if account is None and len(names) == 1:
        account = names[0]
    found = settings.accounts.get(account or "")
    if found is None:
        usage(f"name one of the accounts with --account: {', '.join(settings.accounts)}")
    if found.relay_secret is None:
        fail(f"set accounts.{account}.relay_secret first, such as `openssl rand -hex 24` prints", USAGE)
    if settings.web.public_url is None:
        fail("set web.public_url first: the address under which VirtualText reaches `vtsync web`", USAGE)
    return str(account), f"{settings.web.public_url.rstrip('/')}/relay/{found.relay_secret.get_secret_value()}"


def _hidden(url: str) -> str:
    return f"{url.rpartition('/')[0]}/[hidden]"

"""The command ``vtsync link``: how an account is linked whose contact list cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import (
    FAILED,
    Json,
    actor,
    app,
    chosen_account,
    complain,
    confirm,
    fail,
    local_time,
    open_store_runtime,
    say,
    show_json,
    usage,
)
from worker.cli.progress import progress
from worker.core.text import counted

if TYPE_CHECKING:
    from worker.contacts.linking import LinkState
    from worker.runtime import Runtime

SHOWN_ROWS = 20


@app.command()
def link(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="An account of the configuration.")],
    without_list: Annotated[
        bool, typer.Option("--without-list", help="Create every contact, also those that VirtualText may have already.")
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="An export of VirtualText's contacts: CSV, Excel or JSON."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Use a file although some of its rows cannot be used.")] = False,
    json: Json = False,
) -> None:
    """Link an account for the first time when VirtualText's contact list cannot be read.

    Without an option, read the list now, and show how the account is linked.
    """
    if without_list and file is not None:
        usage("give either --without-list or --from FILE")
    runtime = open_store_runtime()
    chosen_account(runtime, account)
    if file is not None:
        _link_by_file(runtime, account, file, yes, json)
    elif without_list:
        _link_without_list(runtime, account, json)
    else:
        _read_list(runtime, account, json)


def _link_by_file(runtime: Runtime, account: str, path: Path, yes: bool, json: bool) -> None:
    from worker.contacts.contact_file import UnusableFile, read_contact_file
    from worker.contacts.linking import ListBusy, link_by_file

    try:
        read = read_contact_file(path, _region(runtime, account))
    except UnusableFile as error:
        fail(str(error), FAILED)
    if read.unusable:
        rows = counted(len(read.unusable), "row")
        complain(f"{rows} of {path} cannot be used, so contacts in them may be created a second time:")
        for place, reason in read.unusable[:SHOWN_ROWS]:
            complain(f"  {place}: {reason}")
        if len(read.unusable) > SHOWN_ROWS:
            complain(f"  and {len(read.unusable) - SHOWN_ROWS:,} more")
        confirm(f"Use the other {counted(len(read.contacts), 'contact')}?", yes=yes)
    try:
        with progress(f"{account}: storing contacts of {path}") as report:
            done = link_by_file(runtime, account, read.contacts, actor(), report)
    except ListBusy as error:
        fail(str(error), FAILED)
    if json:
        show_json({"account": account, "how": "file", "unusable": [list(one) for one in read.unusable], "done": done})
        return
    say(f"{account}: {counted(done.stored, 'contact')} of VirtualText read from {path}")
    say(f"  of the contacts that wait, {done.adopted:,} are in it and are adopted; {done.created:,} are created")
    say("The running workers do it now, or `vtsync sync`.")


def _link_without_list(runtime: Runtime, account: str, json: bool) -> None:
    from worker.contacts.linking import link_state, link_without_list
    from worker.store.db import reading

    with reading(runtime.engine) as db:
        state = link_state(db, account)
    if state.linked:
        if json:
            show_json({"account": account, "how": state.how, "created": 0})
        else:
            say(f"{_how(account, state)}; nothing was changed.")
        return
    waiting = link_without_list(runtime, account, actor())
    if json:
        show_json({"account": account, "how": "without list", "created": waiting})
        return
    contacts = counted(waiting, "contact")
    say(f"{account}: {contacts} will be created. Those that VirtualText has already will be there twice.")
    say("The running workers do it now, or `vtsync sync`.")


def _read_list(runtime: Runtime, account: str, json: bool) -> None:
    from worker.contacts.linking import link_state, waits_for_link_text
    from worker.contacts.remote_list import Listing, list_state, read_list
    from worker.limits.account_gate import may_call
    from worker.store.db import reading
    from worker.store.models import utcnow

    with progress(f"{account}: reading VirtualText's contact list") as report:
        listing = read_list(runtime, account, progress=report)
    with reading(runtime.engine) as db:
        state, now, permit = link_state(db, account), list_state(db, account), may_call(db, account, utcnow())
    error = now.error if permit else permit.reason
    if json:
        show_json({"account": account, "list": listing, "list_error": error, "link": state})
    elif listing is Listing.READ:
        say(f"{account}: VirtualText's contact list was read. {_how(account, state)}.")
    else:
        why = f" ({error})" if error else ""
        say(f"{account}: VirtualText's contact list could not be read{why}.", "yellow")
        say(
            f"{_how(account, state)}." if state.linked else f"{account}: {waits_for_link_text(account, state.waiting)}."
        )
    if not state.linked:
        raise typer.Exit(FAILED)


def _how(account: str, state: LinkState) -> str:
    how = {
        "list": "by VirtualText's contact list",
        "file": "by a file",
        "without list": "without the list",
        "contacts": "by the contacts that it has created already",
    }[state.how]
    at = f", on {local_time(state.at)}" if state.at else ""
    return f"The account {account} is linked {how}{at}{f' by {state.by}' if state.by else ''}"


def _region(runtime: Runtime, account: str) -> str | None:
    """Return the country of numbers without a country code, if all connections of the account have the same."""
    connections = runtime.settings.connections.values()
    regions = {one.default_region for one in connections if one.account == account}
    return regions.pop() if len(regions) == 1 else None

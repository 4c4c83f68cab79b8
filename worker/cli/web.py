"""The commands of the HTTP API: web, keys create, keys list, keys revoke."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.common import (
    FAILED,
    USAGE,
    Json,
    actor,
    ago,
    app,
    complain,
    enable_telemetry,
    fail,
    open_store_runtime,
    say,
    show_done,
    show_json,
    table,
    usage,
)
from worker.cli.group import Group

keys = typer.Typer(cls=Group, no_args_is_help=True, help="Manage keys of the HTTP API.", rich_markup_mode=None)
app.add_typer(keys, name="keys")


@app.command()
def web(
    host: Annotated[str | None, typer.Option(help="Address to listen on (default: web.host).")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on (default: web.port).")] = None,
) -> None:
    """Run the HTTP API and the pages.

    It accepts jobs of other services, and events of VirtualText's Relay and of carriers.
    """
    from worker.doctor.exposure import Unprotected
    from worker.web.serve import serve_api

    runtime = open_store_runtime(log="info")
    settings = runtime.settings.web
    host, port = host or settings.host, settings.port if port is None else port
    try:
        serve_api(runtime, host, port, enable_telemetry(runtime, "web"))
    except Unprotected as error:
        fail(str(error), USAGE)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "this is no host name"
        fail(
            f"cannot listen on {host}:{port}: {why}; choose another address with --host and --port, or correct web.host"
            " and web.port",
            FAILED,
        )


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who will use the key, such as shop.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="What the key may do, repeatable; see `vtsync keys scopes`.")
    ] = None,
    account: Annotated[
        list[str] | None,
        typer.Option(help="An account that the key may use, repeatable (default: the only one, if there is one)."),
    ] = None,
    all_accounts: Annotated[
        bool, typer.Option("--all-accounts", help="Let the key use every account, also later ones.")
    ] = False,
    test: Annotated[
        bool,
        typer.Option("--test", help="A test key: what it makes is decided about like anything else, and never sent."),
    ] = False,
    json: Json = False,
) -> None:
    """Create a key. It may do only what its options name. It is shown only once."""
    from worker.store.db import writing
    from worker.store.models import utcnow
    from worker.web.keys import create_key

    runtime = open_store_runtime()
    scopes = list(dict.fromkeys(scope or ()))
    if not scopes:
        usage("say what the key may do, such as --scope messages:write; `vtsync keys scopes` lists all scopes")
    accounts = _accounts_of_new_key(list(runtime.settings.accounts), scopes, account or [], all_accounts)
    try:
        with writing(runtime.engine) as connection:
            made = create_key(connection, name, scopes, accounts, created_by=actor(), now=utcnow(), test=test)
    except ValueError as error:
        usage(f"{error}; add --all-accounts, or create two keys" if accounts and not test else str(error))
    if json:
        show_json({"key": made, "name": name, "scopes": scopes, "accounts": accounts, "test": test})
    else:
        typer.echo(made)
    whose = ", ".join(accounts) or "all"
    complain(f"Save the key now: it cannot be shown again. It may: {', '.join(scopes)}. Accounts: {whose}.")
    if test:
        complain("It is a test key: nothing that it makes is sent, and it sees only what test keys made.")


def _accounts_of_new_key(configured: list[str], scopes: list[str], named: list[str], every: bool) -> list[str]:
    """Return the accounts that a key is limited to; none: all. End the command if that is not clear."""
    from worker.web.keys import FLEET_SCOPES

    if named and every:
        usage("give either --account or --all-accounts")
    for one in named:
        if one not in configured:
            usage(f'there is no account "{one}"; the configuration has: {", ".join(configured)}')
    if named or every or set(scopes) <= set(FLEET_SCOPES):
        return list(dict.fromkeys(named))
    if len(configured) != 1:
        usage(f"name the accounts that the key may use: --account NAME ({', '.join(configured)}), or --all-accounts")
    return configured


@keys.command("scopes")
def list_scopes(json: Json = False) -> None:
    """List what a key may be allowed to do."""
    from worker.web.keys import SCOPE_HELP

    if json:
        show_json([{"scope": scope, "help": meaning} for scope, meaning in SCOPE_HELP.items()])
        return
    table(("Scope", "What a key with it may do"), SCOPE_HELP.items())


@keys.command("list")
def list_keys(json: Json = False) -> None:
    """List keys, without their secrets."""
    from worker.store.db import reading
    from worker.web.keys import all_keys

    runtime = open_store_runtime()
    with reading(runtime.engine) as connection:
        found = all_keys(connection)
    if json:
        show_json(found)
        return
    if not found:
        say("There are no keys. Create one with `vtsync keys create NAME --scope SCOPE`.")
    rows = (
        (
            key.id,
            key.name,
            f"revoked {ago(key.revoked_at)}" if key.revoked_at else "active, test" if key.test else "active",
            ", ".join(key.scopes),
            ", ".join(key.accounts) or "all",
            ago(key.last_used_at),
        )
        for key in found
    )
    table(("Id", "Name", "State", "Permissions", "Accounts", "Last used"), rows, lead=("Id", "State", "Name"))


@keys.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The id that `vtsync keys list` shows.")],
    json: Json = False,
) -> None:
    """Revoke a key permanently. It stops working within seconds."""
    from worker.store.db import writing
    from worker.store.models import utcnow
    from worker.web.keys import revoke_key

    runtime = open_store_runtime()
    with writing(runtime.engine) as connection:
        ended = revoke_key(connection, key_id, utcnow())
    if not ended:
        fail(f'there is no active key "{key_id}"; see `vtsync keys list`', FAILED)
    show_done(json, {"id": key_id, "revoked": True}, f"The key {key_id} is revoked.")

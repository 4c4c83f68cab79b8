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
    enable_telemetry,
    fail,
    open_store_runtime,
    say,
    show_json,
    table,
    usage,
)

keys = typer.Typer(no_args_is_help=True, help="Manage keys of the HTTP API.", rich_markup_mode=None)
app.add_typer(keys, name="keys")


@app.command()
def web(
    host: Annotated[str | None, typer.Option(help="Address to listen on (default: web.host).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (default: web.port).")] = None,
) -> None:
    """Run the HTTP API.

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
    except OSError as error:
        fail(f"cannot listen on {host}:{port}: {error.strerror}; choose another port with --port or web.port", FAILED)


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who will use the key, such as shop.")],
    scope: Annotated[list[str] | None, typer.Option(help="A permission of the key, repeatable (default: all).")] = None,
    account: Annotated[
        list[str] | None, typer.Option(help="An account that the key may use, repeatable (default: all).")
    ] = None,
) -> None:
    """Create a key. It is shown only once."""
    from worker.store.db import writing
    from worker.store.models import utcnow
    from worker.web.keys import SCOPES, create_key

    runtime = open_store_runtime()
    for one in account or ():
        if one not in runtime.settings.accounts:
            usage(f'there is no account "{one}"; the configuration has: {", ".join(runtime.settings.accounts)}')
    try:
        with writing(runtime.engine) as connection:
            made = create_key(connection, name, scope or SCOPES, account or [], created_by=actor(), now=utcnow())
    except ValueError as error:
        usage(str(error))
    typer.echo(made)
    typer.echo(f"Save the key now: it cannot be shown again. Its permissions: {', '.join(scope or SCOPES)}.", err=True)


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
        say("There are no keys. Create one with `vtsync keys create NAME`.")
    rows = (
        (
            key.id,
            key.name,
            f"revoked {ago(key.revoked_at)}" if key.revoked_at else "active",
            ", ".join(key.scopes),
            ", ".join(key.accounts) or "all",
            ago(key.last_used_at),
        )
        for key in found
    )
    table(("Id", "Name", "State", "Permissions", "Accounts", "Last used"), rows)


@keys.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="The id that `vtsync keys list` shows.")]) -> None:
    """Revoke a key permanently. It stops working within seconds."""
    from worker.store.db import writing
    from worker.store.models import utcnow
    from worker.web.keys import revoke_key

    runtime = open_store_runtime()
    with writing(runtime.engine) as connection:
        ended = revoke_key(connection, key_id, utcnow())
    if not ended:
        fail(f'there is no active key "{key_id}"; see `vtsync keys list`', FAILED)
    say(f"The key {key_id} is revoked.")

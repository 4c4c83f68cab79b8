"""The commands for the setup: check, fields, schema, migrate, adapters, sandbox, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.common import (
    FAILED,
    USAGE,
    Json,
    app,
    chosen_connections,
    fail,
    open_store_runtime,
    say,
    show_done,
    show_findings,
    show_json,
    table,
    web_address,
)


@app.command()
def check(
    offline: Annotated[
        bool, typer.Option("--offline", help="Only read the configuration, without connecting to anything.")
    ] = False,
    json: Json = False,
) -> None:
    """Validate the configuration and try every credential."""
    from worker.core.findings import Level
    from worker.doctor.checks import checks_for
    from worker.doctor.configuration import summarize
    from worker.doctor.examine import run_checks

    runtime = open_store_runtime(ensure_store=False)
    findings = list(summarize(runtime.settings)) if offline else list(run_checks(checks_for(runtime, "check")))
    if json:
        show_json(
            [
                {
                    "what": one.what,
                    "ok": one.level is Level.OK,
                    "level": one.level,
                    "detail": one.detail,
                    "code": one.code,
                    "docs": one.docs,
                }
                for one in findings
            ]
        )
    else:
        show_findings(findings)
    if any(one.level is Level.PROBLEM for one in findings):
        raise typer.Exit(FAILED)


@app.command()
def fields(
    connection: Annotated[str, typer.Argument(metavar="CONNECTION", help="A connection of the configuration.")],
    json: Json = False,
) -> None:
    """List the fields that a CRM has, and what the configuration uses each for."""
    from crm_adapters.base import AdapterError
    from worker.doctor.fields import report_fields

    runtime = open_store_runtime()
    chosen_connections(runtime, [connection])
    try:
        found = report_fields(runtime, connection)
    except AdapterError as error:
        fail(f"{connection}: {error}", FAILED)
    if json:
        show_json(found)
        return
    several = len({one.kind for one in found}) > 1
    table(
        ["Field", "Label", "Type", *(["Of"] if several else []), "Values", "Used for"],
        (
            (f.name, f.label, f.type, *([f.kind] if several else []), ", ".join(f.samples), ", ".join(f.used_for))
            for f in found
        ),
    )
    if not found:
        say(f"{connection}: the source names no fields")


@app.command()
def migrate(json: Json = False) -> None:
    """Create or upgrade the store's tables. Reads only data_dir and [store] of the configuration."""
    from sqlalchemy.exc import DBAPIError

    from config.errors import ConfigError
    from config.load import load_store
    from worker.core.logs import set_up_logging
    from worker.doctor.reach import store_problem, store_unreachable, store_url
    from worker.runtime import Runtime
    from worker.store.migrate import StoreTooNew, UnsuitableStore
    from worker.store.migrate import migrate as apply

    set_up_logging("warning")
    try:
        runtime = Runtime(load_store())
    except ConfigError as error:
        fail(str(error), USAGE)
    try:
        before, now = apply(runtime.engine)
    except UnsuitableStore as error:
        fail(f"{error}; {store_url(runtime)} was not changed", FAILED)
    except (StoreTooNew, OSError) as error:
        fail(f"the store {store_problem(runtime, error).detail}", FAILED)
    except DBAPIError as error:
        fail(f"the store {store_unreachable(runtime, error, 'migrated').detail}", FAILED)
    where = store_url(runtime)
    said = f"{where}: {'already at' if before == now else 'now at'} revision {now}"
    show_done(json, {"store": where, "before": before, "revision": now}, said)


@app.command()
def adapters(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME | new NAME]", help="Show the options of this adapter, or begin a new one."),
    ] = None,
    new_name: Annotated[str | None, typer.Argument(hidden=True)] = None,
    folder: Annotated[
        Path | None, typer.Option(help="With `new`: where to write the package.", show_default="vtsync-NAME")
    ] = None,
    json: Json = False,
    try_url: Annotated[
        str | None,
        typer.Option("--try", metavar="URL", help="With `rest`: read one page there, and print the options for it."),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME:VALUE", help="With --try: a header. {token} stands for the credential."),
    ] = None,
    token_env: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="With --try: the environment variable with the credential."),
    ] = None,
) -> None:
    """List the CRM adapters, or one adapter's options.

    `new NAME` writes a package to begin an adapter with. `rest --try URL` looks at an API.
    """
    if name == "new":
        _begin_adapter(new_name, folder, json)
        return
    if try_url is not None and name == "rest":
        from worker.cli.rest_preview import preview_rest

        preview_rest(try_url, header or (), token_env, json=json)
        return
    if try_url is not None or header or token_env is not None:
        fail("only `vtsync adapters rest --try URL` takes --try, --header and --token-env", USAGE)
    if new_name is not None or folder is not None:
        fail("only `vtsync adapters new NAME` takes a second name or a --folder", USAGE)
    from crm_adapters.registry import describe_adapters

    known = describe_adapters()
    chosen = [one for one in known if name in (None, one.name)]
    if not chosen:
        fail(f'there is no adapter "{name}"; there are: {", ".join(one.name for one in known)}', USAGE)
    if json:
        show_json(chosen)
        return
    table(["Adapter", "What it reads", "From"], ((a.name, a.summary, a.source) for a in chosen))
    if name is not None:
        table(
            ["Option", "Type", "Default", "Meaning"],
            ((o.name, o.type, o.default, o.description) for o in chosen[0].options),
        )
    else:
        say("`vtsync adapters NAME` shows an adapter's options.")


def _begin_adapter(name: str | None, folder: Path | None, json: bool) -> None:
    from crm_adapters.skeleton import SkeletonRefused, write_skeleton

    if name is None:
        fail("name the new adapter: vtsync adapters new NAME", USAGE)
    chosen = folder or Path(f"vtsync-{name}")
    try:
        written = write_skeleton(name, chosen)
    except SkeletonRefused as error:
        fail(str(error), USAGE)
    if json:
        show_json({"written": [str(path) for path in written]})
        return
    for path in written:
        say(f"Wrote {path}")
    say(f'Next: cd {chosen}, then pip install -e ".[test]" and pytest. README.md says how to continue.')


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from config.schema import json_schema
    from worker.carriers.registry import CARRIERS

    show_json(json_schema(CARRIERS))


@app.command()
def sandbox(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    api_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the API and of the page that shows the phones.")
    ] = 8700,
    create_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the host that creates contacts.")] = 8701,
    any_credentials: Annotated[
        bool, typer.Option("--any-credentials", help="Accept any uid and token, and any number to send from.")
    ] = False,
    relay_url: Annotated[str, typer.Option(help="URL to which each sent or received message is posted.")] = "",
) -> None:
    """Run a local stand-in for VirtualText, to try things out. It texts nobody."""
    from worker.sandbox import serve

    if relay_url:
        web_address(relay_url, "--relay-url", "http://127.0.0.1:8710/relay")
    try:
        serve(host, api_port, create_port, any_credentials=any_credentials, relay_url=relay_url)
    except (OSError, UnicodeError) as error:
        where = f"{host}:{api_port} and {host}:{create_port}"
        why = error.strerror if isinstance(error, OSError) else "this is no host name"
        fail(
            f"cannot listen on {where} ({why}); choose others with --host, --api-port and --create-port",
            FAILED,
        )


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Keep the demo's files for inspection.")] = False,
) -> None:
    """Run a complete example on this machine, against the sandbox.

    It has two CRMs, a worker, a scheduler and texts, and leaves nothing running.
    """
    from worker.demo import run_demo

    raise typer.Exit(run_demo(keep=keep))

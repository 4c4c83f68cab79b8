"""Shared by all commands: the application, common options, output of results and errors, exit codes.

Exit codes: 0 done, 1 something failed, 2 wrong usage or configuration, 128 plus its number if a signal ended it.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from worker.cli.group import Commands, reply, show_error_as_json
from worker.cli.layout import lay_out, wrap
from worker.cli.output import shows_unicode
from worker.core.text import visible, visible_json

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from rich.console import Console

    from config.errors import ConfigError
    from worker.core.findings import Finding
    from worker.monitoring.liveness import Role
    from worker.runtime import Runtime
    from worker.runtime.reload import LoadSettings

app = typer.Typer(
    name="vtsync",
    cls=Commands,
    help="Keep CRMs and VirtualText in sync: contacts, texts, records. Start with `vtsync demo` or `vtsync init`.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

FAILED, USAGE = 1, 2
MOST_LISTED = 1_000_000
"""More rows than anybody reads, and a number that every database takes."""

Number = Annotated[str, typer.Argument(metavar="NUMBER", help='As people write it: +14155552671, "(415) 555-2671".')]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of text.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        from worker.core.version import installed_version

        sys.stdout.write(f"vtsync {installed_version()}\n")
        raise typer.Exit


@app.callback()
def options(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The configuration file (default: VTSYNC_CONFIG, else ./vtsync.toml)."),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Read the options before the command's name."""
    if config is not None:
        # Worker processes that a command starts read the same file.
        os.environ["VTSYNC_CONFIG"] = str(config.absolute())


def open_store_runtime(
    *, ensure_store: bool = True, log: str = "warning", shows: bool = False, load: LoadSettings | None = None
) -> Runtime:
    """Return the configured runtime with an up-to-date store, or end the command with the reasons.

    ``shows``: the command only shows the state of the fleet. If the file has a mistake, it uses the configuration that
    was last in use, and says so first: the fleet still runs with that one. ``load``: see ``open_runtime``.
    """
    from config.errors import ConfigError
    from worker.core.logs import set_up_logging
    from worker.core.private_files import close_to_others, make_files_private
    from worker.runtime import open_runtime

    set_up_logging(log)
    make_files_private()
    try:
        runtime = open_runtime(load=load)
    except ConfigError as error:
        if not shows:
            fail(str(error), USAGE)
        runtime = _last_good_runtime(error)
    close_to_others(runtime.settings.data_dir)
    if ensure_store:
        require_store(runtime, reads_content=load is None)
    return runtime


def _last_good_runtime(error: ConfigError) -> Runtime:
    from config.load import last_good
    from worker.runtime import Runtime

    found = last_good()
    if found is None:
        usage(
            f"{error}\n\nThe data folder of this machine keeps no configuration that was in use before, so nothing can"
            " be shown. Correct the file; `vtsync check` lists every mistake."
        )
    complain(using_last_good(error, found.since))
    return Runtime(found.settings)


def using_last_good(error: ConfigError, since: datetime) -> str:
    """Say that a command uses the configuration that was last in use, for a person."""
    return (
        f"{error.path or 'the configuration'} cannot be used; this is the state with the configuration of"
        f" {local_time(since)}, which was last in use (`vtsync check` lists every mistake)"
    )


def enable_telemetry(runtime: Runtime, role: Role) -> TracerProvider | None:
    """Start traces and error reports if they are configured, or end the command with the reason."""
    from worker.monitoring.telemetry import TelemetryError, start_telemetry

    try:
        return start_telemetry(runtime, role)
    except TelemetryError as error:
        fail(str(error), USAGE)


def require_store(runtime: Runtime, *, reads_content: bool = True) -> None:
    """End the command when the store cannot be used, and say what to do. The scheduler reads no content."""
    from worker.core.findings import Level
    from worker.doctor.reach import reach_store

    store = reach_store(runtime, reads_content=reads_content)
    if store.level is not Level.OK:
        fail(f"the store {store.detail}", FAILED)


@cache
def console() -> Console:
    """Return the console for output to people."""
    from worker.cli.console import SafeConsole

    # Without a terminal, Rich assumes 80 columns and would wrap every id.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160
    return SafeConsole(highlight=False, soft_wrap=False, width=width)


@cache
def error_console() -> Console:
    """Return the console for errors and progress, so that standard output stays clean for scripts."""
    from worker.cli.console import SafeConsole

    # Without a terminal, a sentence stays one line, which programs that read logs expect.
    width = None if sys.stderr.isatty() or "COLUMNS" in os.environ else 10_000
    return SafeConsole(stderr=True, highlight=False, soft_wrap=True, width=width)


def fail(message: str, code: int) -> NoReturn:
    """End the command with a message on standard error; with --json, on standard output, too, as JSON."""
    complain(message)
    show_error_as_json(message, code)
    raise typer.Exit(code)


def complain(message: str) -> None:
    """Print on standard error why something did not happen. The command continues. See ``say``."""
    for line in visible(message).split("\n"):
        error_console().print("\n".join(wrap(line, error_console().width)), markup=False)


def usage(message: str) -> NoReturn:
    """End the command with a message because it was called incorrectly."""
    fail(message, USAGE)


def confirm(question: str, *, yes: bool) -> None:
    """Go on if the person at the terminal agrees, or if ``yes`` was given; otherwise end the command.

    Without a terminal nobody can be asked, so the command needs --yes.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        usage("this needs your agreement, and there is no terminal to ask on; add --yes. Nothing was done.")
    if not typer.confirm(visible(question), err=True):
        fail("nothing was done", FAILED)


def show_json(value: Any) -> None:
    """Print a result for scripts."""
    reply.has_json = True
    sys.stdout.write(visible_json(json_text(value, ascii_only=not shows_unicode())))


def json_text(value: Any, *, ascii_only: bool = False) -> str:
    """Return a result for scripts as text."""
    return json.dumps(plain(value), ensure_ascii=ascii_only, indent=2) + "\n"


def plain(value: Any) -> Any:
    """Convert dataclasses, times and tuples to JSON types."""
    if is_dataclass(value) and not isinstance(value, type):
        # Not ``asdict``, which makes a Counter count its pairs.
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    return value


def say(text: str = "", style: str | None = None, *, hang: int = 0) -> None:
    """Print text for a person, never interpreted as markup, because it may come from a CRM.

    Wrapped lines are indented like their first line, by at least ``hang`` columns.
    """
    for line in visible(text).split("\n"):
        _print("\n".join(wrap(line, console().width, hang)), style)


def show_done(json: bool, values: Mapping[str, Any], text: str) -> None:
    """Print what a command did: ``values`` for scripts with --json, else ``text`` for a person."""
    if json:
        show_json(values)
    else:
        say(text)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "", lead: Sequence[str] = ()) -> None:
    """Print rows as a table, or as blocks of lines where a table is too wide; see ``lay_out``. No rows: print nothing.

    A column whose name begins with "#" holds counts.
    """
    listed = list(rows)
    if not listed:
        return
    heading, lines = lay_out(columns, listed, console().width, lead, "─" if shows_unicode() else "-")
    if title:
        say(title, "bold")
    if heading:
        _print("\n".join(heading), "bold")
    for line in lines:
        _print(line)
    say()


def _print(text: str, style: str | None = None) -> None:
    console().print(text, style=style, markup=False, soft_wrap=True)


def show_findings(findings: Collection[Finding]) -> None:
    """Print the results of checks, one line each, and where their codes are explained."""
    from worker.core.findings import Level

    marks = {Level.OK: ("ok", None), Level.WARNING: ("WARN", "yellow"), Level.PROBLEM: ("FAILED", "red")}
    for one in findings:
        mark, colour = marks[one.level]
        say(f"{mark:6} {one.what}: {one.detail}{one.mark}", colour, hang=7)
    say_what_codes_mean(findings)


def say_what_codes_mean(findings: Iterable[Finding]) -> None:
    """Name the page that explains the codes of these findings, if one has a code."""
    from worker.core.findings import DOCS

    if any(one.code for one in findings):
        say(f"{DOCS} explains each [code].")


def ago(moment: datetime | None) -> str:
    """Return a time relative to now, such as "5 min ago"."""
    if moment is None:
        return "never"
    from worker.core.clock import utcnow

    seconds = (utcnow() - moment).total_seconds()
    prefix, suffix = ("in ", "") if seconds < 0 else ("", " ago")
    size = abs(seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if size >= 2 * length:
            return f"{prefix}{size / length:.0f} {unit}{suffix}"
    return f"{prefix}{size:.0f} s{suffix}"


def local_time(moment: datetime) -> str:
    """Return a time on this machine's clock."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def actor() -> str:
    """Return the name of the user, for the audit trail."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "cli"


def phone_number(text: str) -> str:
    """Convert a number that a person typed to E.164, or end the command if it is not valid."""
    from worker.core.phones import PhoneProblem, parse_phone

    parsed = parse_phone(text, None)
    if isinstance(parsed, PhoneProblem):
        usage(f'"{text}" {parsed.reason}; write it with the country code, such as +14155552671')
    return parsed.e164


def typed_number(runtime: Runtime, text: str) -> str:
    """Convert a number as people type it, such as "(415) 555-2671", or end the command if it is not certain.

    Without a country code it may be of any country of the accounts' own numbers and of the connections. Says how the
    number was read, unless it was typed in E.164.
    """
    from worker.policy.countries import possible_numbers

    found, reason = possible_numbers(text, runtime.settings)
    if len(found) > 1:
        usage(f'"{text}" can be {" or ".join(found)}; write it with the country code')
    if not found:
        usage(f'"{text}" {reason}; write it with the country code, such as +14155552671')
    if found[0] != text:
        complain(f'"{text}" is read as {found[0]}')
    return found[0]


def web_address(text: str, option: str, example: str) -> str:
    """Return an http or https URL that an option got, or end the command if it is none."""
    from pydantic import TypeAdapter, ValidationError

    from config.types import HttpUrl

    try:
        TypeAdapter(HttpUrl).validate_python(text)
    except ValidationError:
        usage(f'{option}: "{text[:100]}" is not a web address; write one such as {example}')
    return text


def chosen_connections(runtime: Runtime, names: Sequence[str] | None) -> list[str]:
    """Return the connections to work on: the named ones, or all enabled ones."""
    known = runtime.settings.connections
    for name in names or ():
        if name not in known:
            usage(f'there is no connection "{name}"; the configuration has: {", ".join(known) or "none"}')
    chosen = list(names or (name for name, connection in known.items() if connection.enabled))
    if not chosen:
        usage("the configuration has no enabled connection; add one under [connections.NAME]")
    return chosen


def chosen_account(runtime: Runtime, name: str | None) -> str:
    """Return the account to use: the named one, or the only one."""
    known = runtime.settings.accounts
    if name is None and len(known) == 1:
        return next(iter(known))
    if name is None:
        usage(f"there are {len(known)} accounts; name one with --account: {', '.join(known) or 'none'}")
    if name not in known:
        usage(f'there is no account "{name}"; the configuration has: {", ".join(known) or "none"}')
    return name

"""The commands for opt-outs: opt-outs (list, import, export), opt-out, opt-in, review."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import (
    FAILED,
    MOST_LISTED,
    Json,
    Number,
    actor,
    ago,
    app,
    complain,
    confirm,
    fail,
    local_time,
    open_store_runtime,
    say,
    show_done,
    show_json,
    table,
    typed_number,
    usage,
)
from worker.cli.group import Group
from worker.cli.progress import progress
from worker.core.text import counted

if TYPE_CHECKING:
    from datetime import datetime

    from worker.contacts.opt_out_file import OptOutFile
    from worker.messages.decisions import ReviewVerdict
    from worker.messages.opt_out_lists import ComparedOptOuts
    from worker.runtime import Runtime

SHOWN_ROWS = 20

opt_outs = typer.Typer(
    cls=Group, help="List, import and export the numbers that must not be texted.", rich_markup_mode=None
)
app.add_typer(opt_outs, name="opt-outs")

Why = Annotated[str, typer.Option("--why", help="What happened; stored as proof.")]


@opt_outs.callback(invoke_without_command=True)
def list_opt_outs(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=MOST_LISTED, help="List at most this many, newest first.")] = 50,
    json: Json = False,
) -> None:
    """List the numbers that vtsync must not text, newest first. Or import or export them."""
    if context.invoked_subcommand is not None:
        return
    from worker.messages.opt_outs import newest_opt_outs
    from worker.store.db import reading

    runtime = open_store_runtime()
    with reading(runtime.engine) as connection:
        found = newest_opt_outs(connection, limit)
    if json:
        show_json(
            [{"phone": phone, "since": one.since, "source": one.source, "detail": one.detail} for phone, one in found]
        )
        return
    if not found:
        say("Nobody has opted out.")
    table(
        ("Phone", "Since", "Source", "Detail"),
        ((phone, ago(one.since), one.source, one.detail) for phone, one in found),
    )


@opt_outs.command("export")
def export_opt_outs(
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write this file (default: standard output).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="With --to: print JSON for scripts instead of text.")] = False,
) -> None:
    """Write all opt-outs as CSV: phone, since, source, reason, account. `vtsync opt-outs import` reads it."""
    from worker.messages.opt_out_lists import write_opt_outs

    if json and to is None:
        usage("--json needs --to FILE: without it, standard output gets the list itself, as CSV")
    runtime = open_store_runtime()
    if to is None:
        with progress("writing opt-outs") as report:
            write_opt_outs(runtime.engine, sys.stdout, report)
        return
    if to.is_dir():
        usage(f"--to: {to} is a folder; name a file")
    part = to.with_name(f"{to.name}.part")
    with part.open("w", encoding="utf-8", newline="") as file, progress(f"{to}: writing opt-outs") as report:
        count = write_opt_outs(runtime.engine, file, report)
    part.replace(to)
    show_done(json, {"file": str(to), "count": count}, f"{counted(count, 'opt-out')} written to {to}.")


@opt_outs.command("import")
def import_opt_outs(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or Excel, with a column of phone numbers.")],
    region: Annotated[
        str | None,
        typer.Option(
            help="The country of numbers without a country code, such as US; also how dates are written"
            " (default: the default_region of all connections, if it is the same)."
        ),
    ] = None,
    phone_column: Annotated[
        str | None, typer.Option("--phone-column", metavar="NAME", help="The column of phone numbers.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change. Changes nothing.")] = False,
    json: Json = False,
) -> None:
    """Take over the opt-outs of another system from a file.

    Each new one is stored with its date and source as its proof, and announced once. Importing a file again changes
    nothing. A number that opted in later than its date in the file stays as it is.
    """
    from worker.contacts.opt_out_file import UnusableOptOutFile, read_opt_out_file
    from worker.store.models import utcnow

    runtime = open_store_runtime()
    country = _region(runtime, region)
    try:
        with progress(f"{file}: reading"):
            read = read_opt_out_file(file, country, utcnow(), phone_column)
    except UnusableOptOutFile as error:
        fail(f"{error}; nothing was changed", FAILED)
    compared = _merge(runtime, file, read, dry_run)
    if json:
        show_json(_import_as_json(read, compared, dry_run))
    else:
        _show_import(file, read, compared, dry_run)
    if read.unusable:
        raise typer.Exit(FAILED)


def _region(runtime: Runtime, region: str | None) -> str | None:
    """Return the country of numbers without a country code: the given one, else that of all connections."""
    from worker.core.regions import region_of

    if region is not None:
        found = region_of(region)
        if found is None:
            usage(f'--region: "{region[:20]}" is no country; write its code, such as US')
        return found
    used = {one.default_region for one in runtime.settings.connections.values()}
    return used.pop() if len(used) == 1 else None


def _merge(runtime: Runtime, file: Path, read: OptOutFile, dry_run: bool) -> ComparedOptOuts:
    """Take over the opt-outs, or only compare them. Return all that was found."""
    from worker.messages.opt_out_lists import take_over
    from worker.messages.opt_outs import NewOptOut

    listed = {phone: NewOptOut(one.as_detail(file.name), since=one.since) for phone, one in read.opt_outs.items()}
    with progress(f"{file}: comparing" if dry_run else f"{file}: importing") as report:
        return take_over(runtime.engine, listed, source="import", actor=actor(), dry_run=dry_run, progress=report)


def _import_as_json(read: OptOutFile, compared: ComparedOptOuts, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "new": len(compared.new),
        "known": len(compared.known),
        "older": len(compared.older),
        "opted_in_later": sorted(compared.lifted),
        "opted_in_by_file": read.opted_in,
        "unusable": [list(one) for one in read.unusable],
        "doubtful": [list(one) for one in read.doubtful],
    }


def _show_import(file: Path, read: OptOutFile, compared: ComparedOptOuts, dry_run: bool) -> None:
    would = "would be added" if dry_run else "added"
    say(f"{file}: {counted(len(compared.new), 'opt-out')} {would}, {len(compared.known):,} known before.")
    if compared.older:
        say(f"  {len(compared.older):,} of the known ones are older in the file; the older date counts.")
    if read.opted_in:
        say(f"  {counted(read.opted_in, 'number')} may be texted as the file says; nothing is changed for them.")
    for phone, at in sorted(compared.lifted.items())[:SHOWN_ROWS]:
        say(f"  {phone} opted in again on {local_time(at)}, later than in the file; it stays as it is.")
    if len(compared.lifted) > SHOWN_ROWS:
        say(f"  and {len(compared.lifted) - SHOWN_ROWS:,} more opted in again later than in the file.")
    _complain_of(read.doubtful, "not understood in full")
    _complain_of(read.unusable, "without a usable phone number: texts to these people are not stopped")


def _complain_of(rows: Sequence[tuple[str, str]], what: str) -> None:
    if not rows:
        return
    complain(f"{counted(len(rows), 'row')} {what}:")
    for place, reason in rows[:SHOWN_ROWS]:
        complain(f"  {place}: {reason}")
    if len(rows) > SHOWN_ROWS:
        complain(f"  and {len(rows) - SHOWN_ROWS:,} more; --json names all of them")


@app.command("opt-out")
def opt_out(number: Number, why: Why = "entered by hand", json: Json = False) -> None:
    """Stop texting a number, from every account."""
    from worker.messages.decisions import opt_out_number

    runtime = open_store_runtime()
    phone = typed_number(runtime, number)
    added = opt_out_number(runtime, phone, source="cli", detail=why, actor=actor())
    said = f"{phone} is opted out. Queued texts to it are not sent." if added else f"{phone} was already opted out."
    show_done(json, {"phone": phone, "opted_out": True, "changed": added}, said)


@app.command("opt-in")
def opt_in(
    number: Number,
    why: Annotated[str, typer.Option("--why", help="How the person agreed; stored as proof.")],
    json: Json = False,
) -> None:
    """Put on record that a number's owner agreed to texts, and allow texts to it again."""
    from worker.messages.decisions import opt_in_number
    from worker.store.db import writing
    from worker.store.models import utcnow

    if not why.strip():
        usage("say with --why how the person agreed to get texts again; it is stored as proof")
    runtime = open_store_runtime()
    phone = typed_number(runtime, number)
    with writing(runtime.engine) as connection:
        removed = opt_in_number(connection, phone, source="cli", detail=why, now=utcnow(), actor=actor())
    said = (
        f"{phone} may be texted again. Texts that were not sent in the meantime stay unsent."
        if removed
        else f"{phone} has not opted out. The consent is on record."
    )
    show_done(json, {"phone": phone, "opted_out": False, "changed": removed}, said)


@app.command()
def review(
    number: Annotated[
        str | None, typer.Argument(metavar="NUMBER", help="The number to decide about (default: list all).")
    ] = None,
    go_on: Annotated[bool, typer.Option("--continue", help="The person did not mean STOP: resume texts.")] = False,
    out: Annotated[bool, typer.Option("--opt-out", help="The person meant STOP: opt the number out.")] = False,
    last_at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Decide about the reply that you have read: its last_at in the JSON list."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Decide without a question about the newest reply.")] = False,
    json: Json = False,
) -> None:
    """Decide about replies that may mean STOP. Texts to these numbers wait for your decision.

    It shows the newest reply of the number, and asks.
    """
    from worker.messages.opt_outs import open_reviews
    from worker.store.db import reading

    decides = go_on or out or last_at is not None or yes
    if decides and number is None:
        usage("name the number that you decide about")
    read = None if last_at is None else _moment(last_at)
    runtime = open_store_runtime()
    if number is not None:
        if go_on == out:
            usage("decide with --continue or with --opt-out")
        _end_review(runtime, typed_number(runtime, number), "opt_out" if out else "continue", read, yes, json)
        return
    with reading(runtime.engine) as connection:
        found = open_reviews(connection)
    if json:
        show_json(found)
        return
    if not found:
        say("No reply waits for a decision.")
    rows = ((one.phone, ago(one.since), ago(one.last_at), one.excerpt) for one in found)
    table(("Phone", "Since", "Last", "Last reply"), rows)
    if found:
        say("Decide about each with `vtsync review NUMBER --opt-out` or `vtsync review NUMBER --continue`.")


def _moment(text: str) -> datetime:
    """Read the time of a reply, or end the command."""
    from datetime import datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        usage("--last-at must be the last_at of `vtsync review --json`, such as 2027-03-01T14:30:00.123456+00:00")
    return moment


def _end_review(
    runtime: Runtime, phone: str, verdict: ReviewVerdict, last_at: datetime | None, yes: bool, json: bool
) -> None:
    """Decide about the newest reply of ``phone``, which the person has read, and about no newer one.

    ``last_at``: of the reply that they have read. None: show it and ask, unless ``yes`` is given.
    """
    from worker.messages.decisions import NotUnderReview, ReplyNotAsShown, decide_review
    from worker.messages.opt_outs import open_reviews
    from worker.store.db import reading

    with reading(runtime.engine) as connection:
        shown = next(iter(open_reviews(connection, phones=[phone])), None)
    if shown is None:
        fail(str(NotUnderReview(phone)), FAILED)
    reply = f'The last reply, {ago(shown.last_at)}: "{shown.excerpt}"'
    out = verdict == "opt_out"
    newest = "read the newest reply with `vtsync review`"
    if last_at is None and not yes:
        _confirm_review(
            f"{phone} is under review. {reply}", f"Opt {phone} out?" if out else f"Resume texts to {phone}?"
        )
    elif last_at not in (None, shown.last_at):
        fail(f"--last-at names another reply than the newest of {phone}; nothing was decided; {newest}", FAILED)
    try:
        released = decide_review(runtime, phone, verdict, actor(), last_at=shown.last_at)
    except NotUnderReview as error:
        fail(str(error), FAILED)
    except ReplyNotAsShown as error:
        fail(f"{error}; {newest}", FAILED)
    done = f"{phone} is opted out." if out else f"Texts to {phone} resume."
    values = {"phone": phone, "opted_out": out, "released": released}
    show_done(json, values | {"excerpt": shown.excerpt, "last_at": shown.last_at}, f"{done} {reply}")


def _confirm_review(shown: str, question: str) -> None:
    """Show a reply, and go on if the person at the terminal agrees. Without a terminal, an option must say it."""
    if not sys.stdin.isatty():
        usage(
            "nobody can be asked here if they have read the reply; add --last-at with the last_at of"
            " `vtsync review --json`, or --yes for the newest reply. Nothing was decided."
        )
    complain(shown)
    confirm(question, yes=False)

"""The commands for opt-outs: opt-outs, opt-out, opt-in, review."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.common import (
    FAILED,
    MOST_LISTED,
    Json,
    actor,
    ago,
    app,
    fail,
    open_store_runtime,
    phone_number,
    say,
    show_json,
    table,
    usage,
)

Number = Annotated[str, typer.Argument(metavar="NUMBER", help="E.164: +14155552671.")]
Why = Annotated[str, typer.Option("--why", help="What happened; stored as proof.")]


@app.command("opt-outs")
def opt_outs(
    limit: Annotated[int, typer.Option(min=1, max=MOST_LISTED, help="List at most this many, newest first.")] = 50,
    json: Json = False,
) -> None:
    """List the numbers that vtsync must not text."""
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


@app.command("opt-out")
def opt_out(number: Number, why: Why = "entered by hand") -> None:
    """Stop texting a number, from every account."""
    from worker.messages.decisions import opt_out_number

    phone = phone_number(number)
    runtime = open_store_runtime()
    added = opt_out_number(runtime, phone, source="cli", detail=why, actor=actor())
    say(f"{phone} is opted out. Queued texts to it are not sent." if added else f"{phone} was already opted out.")


@app.command("opt-in")
def opt_in(
    number: Number, why: Annotated[str, typer.Option("--why", help="How the person agreed; stored as proof.")]
) -> None:
    """Allow texts to a number again, after its owner agreed."""
    from worker.messages.opt_outs import remove_opt_out
    from worker.store.db import writing
    from worker.store.models import utcnow

    phone = phone_number(number)
    if not why.strip():
        usage("say with --why how the person agreed to get texts again; it is stored as proof")
    runtime = open_store_runtime()
    with writing(runtime.engine) as connection:
        removed = remove_opt_out(connection, phone, source="cli", detail=why, now=utcnow(), actor=actor())
    say(
        f"{phone} may be texted again. Texts that were not sent in the meantime stay unsent."
        if removed
        else f"{phone} has not opted out."
    )


@app.command()
def review(
    number: Annotated[
        str | None, typer.Argument(metavar="NUMBER", help="The number to decide about (default: list all).")
    ] = None,
    go_on: Annotated[bool, typer.Option("--continue", help="The person did not mean STOP: resume texts.")] = False,
    out: Annotated[bool, typer.Option("--opt-out", help="The person meant STOP: opt the number out.")] = False,
    json: Json = False,
) -> None:
    """Decide about replies that may mean STOP. Texts to these numbers wait for your decision."""
    from worker.messages.decisions import decide_review
    from worker.messages.opt_outs import open_reviews
    from worker.store.db import reading

    runtime = open_store_runtime()
    if number is not None:
        if go_on == out:
            usage("decide with --continue or with --opt-out")
        phone = phone_number(number)
        try:
            decide_review(runtime, phone, "opt_out" if out else "continue", actor=actor())
        except LookupError as error:
            fail(str(error), FAILED)
        say(f"{phone} is opted out." if out else f"Texts to {phone} resume.")
        return
    with reading(runtime.engine) as connection:
        found = open_reviews(connection)
    if json:
        show_json(found)
        return
    if not found:
        say("No reply waits for a decision.")
    table(("Phone", "Since", "Reply"), ((one.phone, ago(one.since), one.excerpt) for one in found))
    if found:
        say("Decide about each with `vtsync review NUMBER --opt-out` or `vtsync review NUMBER --continue`.")

"""The command send-file: many texts from a file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.common import (
    FAILED,
    Json,
    actor,
    app,
    chosen_account,
    complain,
    open_store_runtime,
    say,
    show_json,
    usage,
)
from worker.cli.progress import progress

if TYPE_CHECKING:
    from worker.messages.requests import InvalidRequest, SendRequest
    from worker.messages.send_many import SendOutcome


@app.command("send-file")
def send_file(
    file: Annotated[Path, typer.Argument(metavar="FILE.jsonl", help="One JSON object in each line.")],
    account: Annotated[str | None, typer.Option("--account", help="The account of lines that name none.")] = None,
    json: Json = False,
) -> None:
    """Send the texts of a file, one JSON object in each line.

    A line has the fields of the task vtsync.send_message, such as {"to": "+14155552671", "message": "Ready."}. A line
    that is refused stops no other. The same line sends one text, however often the file is run; another
    idempotency_key makes it a new text.
    """
    from worker.fleet.wake import wake
    from worker.messages.outbox import Enqueued
    from worker.messages.requests import SendRequest
    from worker.messages.send_many import enqueue_many

    try:
        lines = file.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        usage(f"{file} cannot be read: {error.strerror}")
    runtime = open_store_runtime()
    only = account is not None or len(runtime.settings.accounts) == 1
    default = chosen_account(runtime, account) if only else None
    read = {number: _read(line, default) for number, line in enumerate(lines, 1) if line.strip()}
    good = {number: one for number, one in read.items() if isinstance(one, SendRequest)}
    outcomes: dict[int, SendOutcome] = {number: one for number, one in read.items() if not isinstance(one, SendRequest)}
    with progress(f"{file}: storing texts") as report:
        stored = enqueue_many(runtime, list(good.values()), source="cli", actor=actor(), progress=report)
    outcomes |= zip(good, stored, strict=True)
    for name in sorted({good[number].account for number, one in outcomes.items() if isinstance(one, Enqueued)}):
        wake("vtsync.deliver_messages", name)
    shown = [{"line": number} | _shown(one) for number, one in sorted(outcomes.items())]
    refused = [one for one in shown if "problem" in one]
    if json:
        show_json(shown)
    else:
        for one in refused:
            complain(f"line {one['line']}: {one['problem']}")
        new = sum(not one.get("duplicate", True) for one in shown)
        again = len(shown) - len(refused) - new
        say(f"{new} stored, {again} stored before, {len(refused)} refused; the running workers send them")
    if refused:
        raise typer.Exit(FAILED)


def _read(line: bytes, account: str | None) -> SendRequest | InvalidRequest:
    import orjson

    from worker.messages.request_problems import RequestProblem
    from worker.messages.requests import InvalidRequest, SendRequest

    try:
        job = orjson.loads(line)
    except orjson.JSONDecodeError:
        job = None
    if not isinstance(job, dict):
        return InvalidRequest([RequestProblem((), "the line must be a JSON object in UTF-8", malformed=True)])
    if job.get("account") is None:
        job.pop("account", None)  # the line is refused if none is left
        job |= {} if account is None else {"account": account}
    content = hashlib.blake2b(orjson.dumps(job, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
    try:
        return SendRequest.from_call((), job, idempotency_key=f"line:{content}")
    except InvalidRequest as error:
        return error


def _shown(outcome: SendOutcome) -> dict[str, Any]:
    from worker.messages.outbox import Enqueued
    from worker.messages.send_many import NotStored

    if isinstance(outcome, Enqueued):
        state = {"message_id": outcome.message_id, "state": outcome.state, "reason": outcome.reason}
        return state | {"duplicate": outcome.duplicate}
    if isinstance(outcome, NotStored):
        again = "the store cannot be used now; run the command again"
        return {"problem": again if outcome.again else "it could not be stored; the log has the reason"}
    return {"problem": str(outcome)}

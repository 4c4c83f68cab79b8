"""The commands that pause and resume connections and triggers."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import Json, actor, app, open_store_runtime, say, show_json, usage
from worker.cli.group import Group
from worker.core.text import counted

if TYPE_CHECKING:
    from worker.runtime import Runtime
    from worker.web.pausing import Held

pause = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Stop reading a connection, or hold the texts of a trigger.",
    rich_markup_mode=None,
)
resume = typer.Typer(cls=Group, no_args_is_help=True, help="End a pause.", rich_markup_mode=None)
app.add_typer(pause, name="pause")
app.add_typer(resume, name="resume")

ConnectionName = Annotated[str, typer.Argument(metavar="CONNECTION")]
TriggerName = Annotated[str, typer.Argument(metavar="TRIGGER")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the people who see that it is paused.")]
NOTED = "yellow"


@pause.command("connection")
def pause_connection(name: ConnectionName, reason: Reason = "", json: Json = False) -> None:
    """Stop reading a connection. Nothing is lost: after the pause, the next run continues from where it was."""
    from worker.web import pausing

    runtime = open_store_runtime()
    _require_known("connection", name, runtime.settings.connections)
    done = pausing.pause_connection(runtime, name, reason=_checked(reason), actor=actor())
    if json:
        show_json(done)
        return
    say(f"{name} is {done.pause}{'' if done.changed else '; it was already paused, and the earlier pause stays'}.")
    if done.being_read:
        say("A run is in progress. It ends at its next safe point; the next run continues from there.", NOTED)
    if done.texts_of_run:
        texts = counted(done.texts_of_run, "text of its unfinished run waits", "texts of its unfinished run wait")
        say(f"{texts} until a run after the pause has ended.", NOTED)
    if done.texts_going:
        texts = counted(done.texts_going, "queued text will still be sent", "queued texts will still be sent")
        say(f"{texts}; `vtsync pause trigger NAME` holds those of a trigger.", NOTED)
    say(f"Nothing reads it until `vtsync resume connection {name}`.")


@pause.command("trigger")
def pause_trigger(name: TriggerName, reason: Reason = "", json: Json = False) -> None:
    """Hold the texts of a trigger. None of them begins after this command has ended."""
    from worker.web import pausing

    runtime = open_store_runtime()
    _require_known("trigger", name, runtime.settings.triggers)
    done = pausing.pause_trigger(runtime, name, reason=_checked(reason), actor=actor())
    if json:
        show_json(done)
        return
    say(f"{name} is {done.pause}{'' if done.changed else '; it was already paused, and the earlier pause stays'}.")
    if done.going:
        say(f"{counted(done.going, 'text is', 'texts are')} already being sent.", NOTED)
    say(f"{counted(done.held, 'text is', 'texts are')} held, and what it calls for meanwhile is held, too.")
    say(f"They expire as usual. `vtsync resume trigger {name}` ends the pause; then you approve or cancel them.")


@resume.command("connection")
def resume_connection(name: ConnectionName, json: Json = False) -> None:
    """Let a connection be read again. The next run continues from where it was."""
    from worker.web import pausing

    runtime = open_store_runtime()
    _require_known("connection", name, {*runtime.settings.connections, *_paused(runtime, "connection")})
    ended = pausing.resume_connection(runtime, name, actor=actor())
    if json:
        show_json({"changed": ended is not None, "pause": ended})
    elif ended is None:
        say(f"{name} is not paused.")
    else:
        say(f"{name} was {ended}. It is read again: on schedule, or now with `vtsync sync {name}`.")


@resume.command("trigger")
def resume_trigger(
    name: TriggerName,
    approve: Annotated[bool, typer.Option("--approve", help="Also approve the texts that the pause has held.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Also cancel the texts that the pause has held.")] = False,
    json: Json = False,
) -> None:
    """Let a trigger text again. What the pause has held stays held until you approve or cancel it."""
    from worker.web import pausing

    if approve and cancel:
        usage("give --approve or --cancel, not both")
    held: Held = "approve" if approve else "cancel" if cancel else "keep"
    runtime = open_store_runtime()
    _require_known("trigger", name, {*runtime.settings.triggers, *_paused(runtime, "trigger")})
    done = pausing.resume_trigger(runtime, name, held=held, actor=actor())
    if json:
        show_json(done)
        return
    say(f"{name} is not paused." if done.pause is None else f"{name} was {done.pause}. It texts again.")
    if done.approved:
        say(f"{counted(done.approved, 'text')} approved; the running workers send them, or `vtsync sync`.")
    if done.cancelled:
        say(f"{counted(done.cancelled, 'text')} cancelled.")
    if done.held:
        say(
            f"{counted(done.held, 'text')} held by the pause. Look at them with"
            f" `vtsync messages --state held --trigger {name}`; `vtsync approve --trigger {name}` sends those that"
            f" wait for an approval, `vtsync cancel --trigger {name}` ends all that wait.",
            NOTED,
        )
    if done.held_otherwise:
        texts = counted(done.held_otherwise, "text waits", "texts wait")
        say(f"{texts} for an approval for another reason: `vtsync approve --trigger {name}`", NOTED)


def _checked(reason: str) -> str:
    from worker.web.pausing import pause_reason

    try:
        return pause_reason(reason)
    except ValueError as error:
        usage(f"--reason: {error}. Nothing was done.")


def _require_known(what: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        usage(f'there is no {what} "{name}"; there are: {", ".join(sorted(known)) or "none"}')


def _paused(runtime: Runtime, kind: str) -> Collection[str]:
    """Return what is paused, also what is not configured any more: its pause can be ended, too."""
    from worker.core.states import PauseKind
    from worker.store.db import reading
    from worker.store.pauses import all_pauses

    with reading(runtime.engine) as db:
        return list(all_pauses(db, PauseKind(kind)))

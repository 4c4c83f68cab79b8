"""The group of all commands: what holds for every call of ``vtsync``, whatever the command is."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from typer import Abort, BadParameter
from typer.core import TyperGroup

from worker.cli.output import discard_output, flush_output
from worker.core.text import visible, visible_json

FAILED, USAGE = 1, 2
LONGEST_SENTENCE = 1_000
_CLICK_ERROR: type[Any] = BadParameter.__mro__[2]  # ClickException: Click's, or that of the copy which Typer may have


class _Reply:
    """What one call of a command writes to standard output. With --json, that is one JSON document in any case."""

    wants_json = False
    has_json = False


reply = _Reply()


def show_error_as_json(message: str, code: int) -> None:
    """With --json, print an error for scripts to standard output, unless the command has printed a result already."""
    if reply.wants_json and not reply.has_json:
        reply.has_json = True
        document = json.dumps({"error": {"message": message, "exit_code": code}}, ensure_ascii=True, indent=2)
        sys.stdout.write(visible_json(document) + "\n")


class Group(TyperGroup):
    """A group of commands whose help describes each in a whole sentence. Typer cuts sentences to one line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands of the group, each with the first sentence of its help."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, one.get_short_help_str(LONGEST_SENTENCE)) for name, one in found if one and not one.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Commands(Group):
    """Refuses arguments that are no text. Ends with a sentence where the store, a file or the output fails."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **more: Any) -> Any:
        """Run a command. Exits as Click does."""
        given = [_as_text(word) for word in (sys.argv[1:] if args is None else args)]
        reply.wants_json, reply.has_json = "--json" in given, False
        try:
            try:
                code = super().main(given, *rest, **(more | {"standalone_mode": False}))
            finally:
                flush_output()
        except _CLICK_ERROR as error:
            error.show()
            show_error_as_json(error.format_message(), error.exit_code)
            sys.exit(error.exit_code)
        except Abort:
            _end("nothing was done", FAILED)
        except OSError as error:
            _end_for_file(error)
        except Exception as error:
            if "worker.core.content_cipher" in sys.modules and (unreadable := _unreadable_content(error)):
                _end(unreadable, FAILED)
            if why := _store_failure(error):
                _end(f"the store refused or lost a request ({why}); `vtsync doctor` checks it", FAILED)
            raise
        sys.exit(code if isinstance(code, int) else 0)


def _end_for_file(error: OSError) -> NoReturn:
    """End the command because a file, or the output, cannot be used. A reader that has gone gets no message."""
    discard_output()
    if error.errno == errno.EPIPE:
        sys.exit(FAILED)
    if error.filename is None:
        _end(f"the output cannot be written: {error.strerror or error}", FAILED)
    _end(
        f"{error.filename} cannot be used: {error.strerror}; correct the path, or make it readable and writable for"
        " this user",
        FAILED,
    )


def _unreadable_content(error: Exception) -> str:
    """Return the sentence of an error about encrypted content; "" if it is another error."""
    from worker.core.content_cipher import ContentUnreadable

    return str(error) if isinstance(error, ContentUnreadable) else ""


def _store_failure(error: Exception) -> str:
    """Return the first line of an error of the store; "" if it is another error."""
    if "sqlalchemy.exc" not in sys.modules:  # a command that never opened the store
        return ""
    from sqlalchemy.exc import DBAPIError

    if not isinstance(error, DBAPIError):
        return ""
    return (str(error.orig).strip() or type(error).__name__).splitlines()[0]


def _end(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"vtsync: {visible(message)}\n")
    if sys.stdout is not None and not sys.stdout.closed:
        show_error_as_json(message, code)
    sys.exit(code)


def _as_text(word: str) -> str:
    """Return an argument as text. A locale without UTF-8 makes Python keep its bytes as surrogates."""
    try:
        return word.encode(errors="surrogateescape").decode()
    except UnicodeError:
        shown = word.encode("ascii", "backslashreplace").decode()
        _end(f'the argument "{shown[:100]}" is not valid UTF-8; type it again', USAGE)

"""The group of all commands: what holds for every call of ``vtsync``, whatever the command is."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from typer.core import TyperGroup

from worker.cli.output import discard_output, flush_output

FAILED, USAGE = 1, 2


class Commands(TyperGroup):
    """Refuses arguments that are no text. Ends with a sentence where the store, a file or the output fails."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **more: Any) -> Any:
        """Run a command. Exits as Click does."""
        given = [_as_text(word) for word in (sys.argv[1:] if args is None else args)]
        try:
            try:
                return super().main(given, *rest, **more)
            finally:
                flush_output()
        except OSError as error:
            _end_for_file(error)
        except Exception as error:
            if why := _store_failure(error):
                _end(f"the store refused or lost a request ({why}); `vtsync doctor` checks it", FAILED)
            raise


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


def _store_failure(error: Exception) -> str:
    """Return the first line of an error of the store; "" if it is another error."""
    if "sqlalchemy.exc" not in sys.modules:  # a command that never opened the store
        return ""
    from sqlalchemy.exc import DBAPIError

    if not isinstance(error, DBAPIError):
        return ""
    return (str(error.orig).strip() or type(error).__name__).splitlines()[0]


def _end(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"vtsync: {message}\n")
    sys.exit(code)


def _as_text(word: str) -> str:
    """Return an argument as text. A locale without UTF-8 makes Python keep its bytes as surrogates."""
    try:
        return word.encode(errors="surrogateescape").decode()
    except UnicodeError:
        shown = word.encode("ascii", "backslashreplace").decode()
        _end(f'the argument "{shown[:100]}" is not valid UTF-8; type it again', USAGE)

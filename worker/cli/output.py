"""Standard output that cannot show every character, that nobody reads any more, or that is closed or full."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO


def prepare_output() -> None:
    """Make sure that printing never fails because of a character, or because there is nothing to print to."""
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:  # closed by the caller, such as with `>&-`
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # with LANG=C, a name may hold letters that ASCII lacks


def shows_unicode() -> bool:
    """Return True if standard output can show every character."""
    return (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "") in ("utf8", "utf16", "utf32")


def flush_output() -> None:
    """Write what is buffered. Raises OSError now instead of a warning of Python's at the very end."""
    sys.stdout.flush()
    sys.stderr.flush()


def discard_output() -> None:
    """Send what is still buffered nowhere, because nobody can get it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())

"""Shows how far long work is, on standard error: in one line that changes on a terminal, in one a minute elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from worker.cli.common import complain, error_console
from worker.core.progress import Progress, progress_text

LINE_EVERY_SECONDS = 60.0


@contextmanager
def progress(what: str) -> Iterator[Progress]:
    """Show the progress that the block reports. ``what``: the work, such as "crm: reading"."""
    began = time.monotonic()
    if error_console().is_terminal:
        from rich.text import Text  # a name of a file is no markup

        with error_console().status(Text(what)) as status:
            yield lambda done, total: status.update(Text(progress_text(what, done, total, time.monotonic() - began)))
        return
    said = began

    def say_at_intervals(done: int, total: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= LINE_EVERY_SECONDS:
            said = now
            complain(progress_text(what, done, total, now - began))

    yield say_at_intervals

"""What ends a command early: Ctrl-C (SIGINT), SIGTERM, and SIGHUP, which a closed terminal sends.

Most commands end where they are: the exception unwinds them, so transactions are rolled back and files are closed.
Commands that claim rows stop at the next safe point instead, and give back what they have claimed. A second signal ends
either kind at once. The exit code is 128 plus the number of the signal, as shells report it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.runtime import Runtime

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPING = (
    "stopping at the next safe point; another signal ends the command at once, and what it has claimed is free again"
    " when its lease ends\n"
)


class Interrupted(BaseException):
    """A signal ended the command. It is no KeyboardInterrupt, which Click would answer with "Aborted!" and code 1."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = exit_code(number)


def exit_code(number: int) -> int:
    """Return the exit code of a command that a signal ended: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + number


def unwind_on_signals() -> None:
    """Raise Interrupted at the first signal, and end the process at the second.

    Signals that are ignored stay ignored: that is how ``nohup`` and shells protect what runs in the background.
    """
    _handle_with(_raise)


@contextmanager
def stopping_safely(runtime: Runtime) -> Iterator[StoppedBy]:
    """Stop the work in the block at its next safe point when a signal arrives.

    The block ends as usual, so that it can show what was done. The command then exits with the code of the signal.
    """
    import typer

    stopped = StoppedBy()
    if threading.current_thread() is not threading.main_thread():  # only the main thread can handle signals
        yield stopped
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        _end_at_next_signal()
        stopped.number = number
        runtime.stop.set()
        # Not through the console, whose lock this thread may hold at this moment.
        with suppress(OSError):
            os.write(2, STOPPING.encode())

    before = {number: signal.getsignal(number) for number in SIGNALS}
    _handle_with(stop)
    try:
        yield stopped
    except typer.Exit:
        if stopped.number is None:
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stopped.number is not None:
        raise typer.Exit(exit_code(stopped.number))


class StoppedBy:
    """The signal that stopped the work; None: it was not stopped."""

    number: int | None = None


def _handle_with(handler: object) -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)  # type: ignore[arg-type]


def _raise(number: int, _frame: FrameType | None) -> None:
    _end_at_next_signal()
    raise Interrupted(number)


def _end_at_next_signal() -> None:
    # The first process of a container ignores signals that it has no handler for.
    _handle_with(_exit if os.getpid() == 1 else signal.SIG_DFL)


def _exit(number: int, _frame: FrameType | None) -> None:
    os._exit(exit_code(number))

"""Runs the backtests of the pages in a thread, one at a time, each for about a minute at most."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from worker.rehearsal.backtest import Backtest, backtest
from worker.runtime import Runtime
from worker.store.models import utcnow

SECONDS = 60.0
"""After this time no further record is read, and the result says what is left out."""
log = structlog.get_logger(__name__)


@dataclass
class BacktestRun:
    """One backtest, as far as it has come. It is done when it has a ``result`` or a ``problem``."""

    trigger: str
    days: int
    by: str
    began: datetime = field(default_factory=utcnow)
    records: int = 0
    result: Backtest | None = None
    problem: str = ""

    @property
    def is_done(self) -> bool:
        """Return whether it has ended."""
        return self.result is not None or self.problem != ""


class Backtests:
    """The last backtest of each trigger. They are kept in this process alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, BacktestRun] = {}

    def of(self, trigger: str) -> BacktestRun | None:
        """Return the last backtest of a trigger."""
        return self._runs.get(trigger)

    def start(self, runtime: Runtime, trigger: str, days: int, by: str) -> bool:
        """Start one. Return False if another one is running."""
        with self._lock:
            if not all(run.is_done for run in self._runs.values()):
                return False
            run = self._runs[trigger] = BacktestRun(trigger, days, by)
        threading.Thread(target=_carry_out, args=(runtime, run), name="backtest", daemon=True).start()
        return True


def _carry_out(runtime: Runtime, run: BacktestRun) -> None:
    ends = time.monotonic() + SECONDS

    def progress(records: int, _: int) -> None:
        run.records = records

    try:
        run.result = backtest(runtime, run.trigger, run.days, progress, lambda: time.monotonic() > ends)
    except Exception as error:
        log.exception("a backtest failed", trigger=run.trigger)
        run.problem = (
            f"the backtest failed ({type(error).__name__}); `vtsync triggers backtest {run.trigger}` says more"
        )

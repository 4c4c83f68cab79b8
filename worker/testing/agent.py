"""The process behind ``vtsync_testing``: runs the fleet of a test in the current folder until its input ends.

It reads a call from each line of its input, and writes the answer to a line of its output, both as JSON.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from worker.testing.processes import FleetFailed
from worker.testing.settings import BadSettings
from worker.testing.start import start_fleet


def main() -> int:
    """Answer calls until there are none, then end the fleet."""
    # Only answers go to the output; what libraries print goes to the log.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    calls: dict[str, Callable[..., Any]] = {}
    with contextlib.ExitStack() as stack:

        def start(settings: str) -> dict[str, Any]:
            fleet = start_fleet(stack, Path.cwd(), settings)
            calls.update({call.__name__: call for call in fleet.calls()})
            return fleet.facts()

        calls["start"] = start
        for line in sys.stdin.buffer:
            output.write(_answer(calls, line) + b"\n")
    return 0


def _answer(calls: dict[str, Callable[..., Any]], line: bytes) -> bytes:
    asked = orjson.loads(line)
    answer: dict[str, Any]
    try:
        answer = {"result": calls[asked["call"]](**asked["arguments"])}
    except AssertionError as error:
        answer = {"error": str(error), "asserted": True}
    except (BadSettings, FleetFailed) as error:
        answer = {"error": str(error), "asserted": False}
    except Exception as error:  # noqa: BLE001 - the test that called it shows what is wrong with the call
        answer = {"error": f"{type(error).__name__}: {error}", "asserted": False}
    return orjson.dumps({"number": asked["number"]} | answer)


if __name__ == "__main__":
    sys.exit(main())

"""`vtsync demo`: runs the whole product on one machine, against the sandbox."""

from worker.demo.run import run_demo

__all__ = ["run_demo"]

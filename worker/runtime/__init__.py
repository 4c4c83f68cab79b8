"""The runtime of a process: settings, store, clients, stop signal."""

from worker.runtime.current import open_runtime
from worker.runtime.runtime import Kind, Runtime, StopSignal

__all__ = ["Kind", "Runtime", "StopSignal", "open_runtime"]

"""What a process needs to work: its settings, the store, the clients, and a way to be told to stop."""

from worker.runtime.current import open_runtime
from worker.runtime.runtime import Kind, Runtime, StopSignal

__all__ = ["Kind", "Runtime", "StopSignal", "open_runtime"]

"""The fleet: its processes, the tick, schedules, waking tasks, limits on concurrency."""

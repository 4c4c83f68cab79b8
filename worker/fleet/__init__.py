"""The fleet: its processes, the tick, schedules, waking of tasks, and limits on concurrency."""

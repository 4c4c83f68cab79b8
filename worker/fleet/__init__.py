"""What keeps the processes working: schedules, the tick, the processes themselves."""

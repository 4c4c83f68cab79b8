"""Alerts: tells people once when something waits for them or does not work, and once when that has ended."""

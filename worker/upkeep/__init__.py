"""Maintenance of the store: retention, restoring a backup, the guard against a store that went back in time."""

"""Maintenance of the store: retention, making a restored backup safe, and the rollback guard."""

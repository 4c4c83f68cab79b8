"""The adapter for CSV exports."""

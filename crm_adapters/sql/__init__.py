"""The adapter for SQL databases."""

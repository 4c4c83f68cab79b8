"""Shared primitives: phone numbers, logs, metrics, HTTP, text. Imports no other package of ours."""

"""Celery's settings, the brokers and the embedded transport."""

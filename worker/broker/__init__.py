"""Celery's settings, broker URLs, and the embedded broker."""

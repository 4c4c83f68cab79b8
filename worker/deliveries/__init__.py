"""Delivers events to CRM records and to subscribers: their webhooks and Celery tasks."""

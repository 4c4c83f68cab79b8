"""Hands on what happened: to CRM records, to subscribers' webhooks and tasks."""

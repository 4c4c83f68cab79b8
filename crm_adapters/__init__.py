"""Adapters: one CRM a module. Read ``base`` first."""

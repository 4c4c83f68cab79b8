"""Adapters, one module or package for each CRM. Read ``base`` first."""

"""Tries triggers and the policy on what is stored, and sends nothing: one record, the history, changed settings."""

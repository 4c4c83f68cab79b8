"""Texts: what to send (templates, triggers), whether it may go (policy), and what became of it (states, outbox)."""

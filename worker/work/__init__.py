"""The registry of background work: every kind of work that the fleet does, declared once."""

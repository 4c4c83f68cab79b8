"""The registry of background work: declares every kind of work that the fleet does."""

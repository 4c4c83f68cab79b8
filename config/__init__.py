"""What can be configured: typed models, loading, checking, the commented starter file."""

"""The rights of the people whose numbers we text: what is stored about them, a copy of it, and its erasure."""

"""How many requests an account may make: its state, adaptive rate, rate limits and requests in flight."""

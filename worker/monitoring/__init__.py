"""What an operator sees of it: pulses and health, metrics of the store, traces, error reports."""

"""Incoming events of the Relay and of carriers, stored before they are answered."""

"""The HTTP API: jobs of other services, and events of VirtualText's Relay and of carriers."""

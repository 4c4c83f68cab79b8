"""Checks of the machine, the configuration, servers, credentials and the fleet, and the overview of `vtsync status`."""

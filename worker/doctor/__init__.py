"""Checks of machine, configuration, servers, credentials and fleet, and the overview that `vtsync status` shows."""

"""VirtualText over HTTP: the calls, what they came to, and a sandbox to call."""

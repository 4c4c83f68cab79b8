"""The VirtualText API over HTTP: calls, wire format and outcomes."""

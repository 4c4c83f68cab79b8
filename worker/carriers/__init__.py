"""Carriers that other systems of the company send with: their events become records in VirtualText."""

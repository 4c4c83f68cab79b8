"""Remembers which stored records a complete listing has shown: one bit each, so memory stays small."""

from __future__ import annotations


class SeenRecords:
    """A set of mapping ids as a bitmap: one million records take 125 KB."""

    def __init__(self) -> None:
        self._bits = bytearray()
        self.live = 0
        """How many of them are known to be live records."""

    def add(self, mapping_id: int, *, live: bool = True) -> bool:
        """Mark a record. Return True if it was not marked before. ``live``: it is known not to be stored as deleted."""
        byte, bit = mapping_id >> 3, 1 << (mapping_id & 7)
        if byte >= len(self._bits):
            self._bits.extend(bytes(max(byte + 1 - len(self._bits), len(self._bits))))
        if self._bits[byte] & bit:
            return False
        self._bits[byte] |= bit
        self.live += live
        return True

    def __contains__(self, mapping_id: int) -> bool:
        byte = mapping_id >> 3
        return byte < len(self._bits) and bool(self._bits[byte] & (1 << (mapping_id & 7)))

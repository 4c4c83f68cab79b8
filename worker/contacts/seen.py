"""Which of a connection's stored records a complete listing has met: one bit each, so memory stays flat."""

from __future__ import annotations


class SeenRecords:
    """A set of mapping ids, as a bitmap: 1M records cost 125 KB."""

    def __init__(self) -> None:
        self._bits = bytearray()
        self.live = 0
        """How many of them are certainly live records."""

    def add(self, mapping_id: int, *, live: bool = True) -> bool:
        """Mark it; True when it was not marked before. ``live``: it is certainly not stored as deleted."""
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

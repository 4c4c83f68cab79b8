"""Remembers which stored records a listing has shown: one bit each, so memory stays small."""

from __future__ import annotations

import struct
import zlib

_HEAD = struct.Struct(">Q")


class SeenRecords:
    """A set of mapping ids as a bitmap: one million records take 125 KB."""

    def __init__(self) -> None:
        self._bits = bytearray()
        self.live = 0
        """How many of them are known to be live records."""

    @classmethod
    def load(cls, stored: bytes) -> SeenRecords:
        """Restore what ``dump`` returned."""
        seen = cls()
        (seen.live,) = _HEAD.unpack_from(stored)
        seen._bits = bytearray(zlib.decompress(stored[_HEAD.size :]))
        return seen

    def dump(self) -> bytes:
        """Return the set as bytes, compressed."""
        return _HEAD.pack(self.live) + zlib.compress(bytes(self._bits), 1)

    def add(self, mapping_id: int, live: bool = True) -> bool:
        """Mark a record. Return True if it was not marked before. ``live``: it is known not to be stored as deleted."""
        bits, byte, bit = self._bits, mapping_id >> 3, 1 << (mapping_id & 7)
        if byte >= len(bits):
            bits.extend(bytes(max(byte + 1 - len(bits), len(bits))))
        before = bits[byte]
        if before & bit:
            return False
        bits[byte] = before | bit
        self.live += live
        return True

    def doubt(self, count: int = 1) -> None:
        """Count fewer as live. Then the stored records are looked through, instead of only counted."""
        self.live = max(self.live - count, 0)

    def __contains__(self, mapping_id: int) -> bool:
        byte = mapping_id >> 3
        return byte < len(self._bits) and bool(self._bits[byte] & (1 << (mapping_id & 7)))

"""LevelDB's log format, in which W&B and SwanLab keep their runs.

Blocks of 32 KiB hold records of a checksum, a length and a type; a long record goes on in the next
block. Checksums are not verified: what does not parse is damage, and reading goes on at the next
block.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_FILE_HEADER = 7
_BLOCK = 1 << 15
_HEADER = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_MOST = 1 << 26
"""A record longer than this is damage, or a file that was logged."""


class Records:
    """Cuts a growing LevelDB log into its records."""

    def __init__(self) -> None:
        self._rest = b""
        self._at = 0
        """Where in the file the rest begins."""
        self._begun: list[bytes] | None = None
        self.damaged = 0
        """Blocks in which reading broke off."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The records that these bytes complete."""
        self._rest += data
        used = 0
        if self._at == 0:
            if len(self._rest) < _FILE_HEADER:
                return
            used = _FILE_HEADER
        while True:
            left = _BLOCK - (self._at + used) % _BLOCK
            if left < _HEADER.size:  # too short for a header: padding
                left_over = min(left, len(self._rest) - used)
                used += left_over
                if left_over < left:
                    break
                continue
            if used + _HEADER.size > len(self._rest):
                break
            _, length, kind = _HEADER.unpack_from(self._rest, used)
            if not _FULL <= kind <= _LAST or length > left - _HEADER.size:
                self.damaged += 1
                self._begun = None
                if len(self._rest) - used < left:
                    break
                used += left
                continue
            begin = used + _HEADER.size
            if begin + length > len(self._rest):
                break
            used = begin + length
            whole = self._joined(kind, self._rest[begin:used])
            if whole is not None:
                yield whole
        self._rest, self._at = self._rest[used:], self._at + used

    def _joined(self, kind: int, piece: bytes) -> bytes | None:
        """The record that this piece ends; None where it goes on."""
        if kind in (_FULL, _FIRST):
            self._begun = []
        if self._begun is None or sum(map(len, self._begun)) > _MOST:
            self._begun = None
            return None
        self._begun.append(piece)
        if kind in (_FIRST, _MIDDLE):
            return None
        whole, self._begun = b"".join(self._begun), None
        return whole

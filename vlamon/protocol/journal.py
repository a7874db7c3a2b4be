"""`run.vlaj`: the frames of a run on disk, each with a mark to find it by and a crc to trust it by.

A file is `MAGIC`, then records: mark (4 bytes), length (u32), crc32 of the payload (u32), payload.
A torn tail or a flipped bit costs the frames that it touches: the reader looks for the next mark
whose crc holds, and says what it skipped.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from vlamon.protocol.frames import FROM_TRAINER, HEADER

MAGIC = b"VLAJ\x00\x01\r\n"
MARK = b"\xf7vJ\xfe"
NAME = "run.vlaj"
_HEAD = struct.Struct(">4sII")
_CHUNK = 1 << 20
_WASTE = 64
"""Bytes of crc that a byte of file may cost; a file made to be slow is given up, not served."""


class JournalError(Exception):
    """A journal cannot be used; the message says why."""

    def __init__(self, reason: str, advice: str = "") -> None:
        super().__init__(f"{reason}; {advice}" if advice else reason)
        self.reason = reason
        """What is wrong, without what to do about it."""


def seal(frame: bytes) -> bytes:
    """A wire frame as the journal holds it."""
    payload = frame[HEADER.size :]
    return _HEAD.pack(MARK, len(payload), zlib.crc32(payload)) + payload


@dataclass(frozen=True, slots=True)
class Sealed:
    """One good frame."""

    offset: int
    payload: bytes

    @property
    def end(self) -> int:
        """Offset of the byte after it."""
        return self.offset + _HEAD.size + len(self.payload)


@dataclass(frozen=True, slots=True)
class TornBytes:
    """Bytes that are no good frame."""

    offset: int
    bytes: int
    frames: int
    """Damaged frames in there, as far as their marks are left; at least 1."""


class Scanner:
    """Cuts a journal's bytes into frames, however damaged; holds about one frame at most."""

    def __init__(self, offset: int = 0) -> None:
        self._buffer = bytearray()
        self._base = offset
        """File offset of the buffer's first byte."""
        self._torn_from: int | None = None
        self._torn_marks = 0
        self._waste = 0
        self._fed = 0

    @property
    def offset(self) -> int:
        """File offset of the first byte that is neither delivered nor given up."""
        return self._base

    @property
    def pending(self) -> int:
        """Bytes of a frame that has not come whole."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Sealed | TornBytes]:
        """What is complete with these bytes. Raises JournalError where it is not worth reading."""
        self._buffer += data
        self._fed += len(data)
        yield from self._cut(last=False)

    def finish(self) -> Iterator[Sealed | TornBytes]:
        """What is left when no more bytes come: nothing, or a torn tail."""
        yield from self._cut(last=True)

    def _cut(self, last: bool) -> Iterator[Sealed | TornBytes]:
        buffer = self._buffer
        at = 0
        if self._base == 0 and buffer.startswith(MAGIC[: len(buffer)]):
            if len(buffer) < len(MAGIC) and not last:
                return
            at = min(len(MAGIC), len(buffer))
        while True:
            mark = buffer.find(MARK, at)
            if mark < 0:
                # A mark may be cut in two by the end of what was read.
                keep = len(buffer) if last else max(at, len(buffer) - len(MARK) + 1)
                at = self._skip(at, keep)
                break
            at = self._skip(at, mark)
            length = self._length_at(mark)
            if length is None and not last:
                break  # the header has not come whole
            end = mark + _HEAD.size + (length or 0)
            if length is not None and length <= FROM_TRAINER and end > len(buffer) and not last:
                break
            payload = self._good_payload(mark, end, length)
            if payload is None:
                self._torn_marks += 1
                at = self._skip(mark, mark + len(MARK))
                continue
            yield from self._torn_before(mark)
            yield Sealed(self._base + mark, payload)
            at = end
        self._base += at
        del buffer[:at]
        if last:
            yield from self._torn_before(0)

    def _length_at(self, mark: int) -> int | None:
        if len(self._buffer) < mark + _HEAD.size:
            return None
        length: int = _HEAD.unpack_from(self._buffer, mark)[1]
        return length

    def _good_payload(self, mark: int, end: int, length: int | None) -> bytes | None:
        if length is None or length > FROM_TRAINER or end > len(self._buffer):
            return None
        payload = bytes(self._buffer[mark + _HEAD.size : end])
        if zlib.crc32(payload) == _HEAD.unpack_from(self._buffer, mark)[2]:
            return payload
        self._waste += length
        if self._waste > _WASTE * (self._fed + _CHUNK):
            raise JournalError("the file is damaged nearly everywhere; giving up on it")
        return None

    def _skip(self, first: int, end: int) -> int:
        """Count bytes `first` … `end` of the buffer as damaged."""
        if end > first and self._torn_from is None:
            self._torn_from = self._base + first
        return max(first, end)

    def _torn_before(self, at: int) -> Iterator[TornBytes]:
        if self._torn_from is not None:
            start, self._torn_from = self._torn_from, None
            marks, self._torn_marks = self._torn_marks, 0
            yield TornBytes(start, self._base + at - start, max(1, marks))


def scan(descriptor: int, offset: int = 0, end: int | None = None) -> Iterator[Sealed | TornBytes]:
    """Everything in the file from `offset` to `end`, to its last byte."""
    scanner = Scanner(offset)
    while end is None or offset < end:
        size = _CHUNK if end is None else min(_CHUNK, end - offset)
        data = os.pread(descriptor, size, offset)
        if not data:
            break
        offset += len(data)
        yield from scanner.feed(data)
    yield from scanner.finish()

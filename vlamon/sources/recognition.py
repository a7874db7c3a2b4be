"""Finds the format of a log while it grows, however much stands in front of its first known line.

Trainings print warnings, their configuration, even their own source before the first metric. So a
log is looked at piece by piece until a format is sure; what may as well be a configuration waits
for something better until the log's end. A format for lines of any make is taken only where the
pieces behind its first line hold none with a name of its own.
"""

from __future__ import annotations

from vlamon.sources.formats import HEAD_BYTES, NAMED, SURE, Format, scored

_GROWN = 1 / 8
"""A piece that is still growing is looked at again when this share of it is new."""
_LOOK_ON = 8 * HEAD_BYTES
"""So far behind a line of any make something better is looked for: longer delays the screen."""


class Recognition:
    """The lines of a log whose format is not known yet."""

    def __init__(self, path: str) -> None:
        self.lines = bytearray()
        """All of them; they wait for their parser."""
        self.likeliest: Format | None = None
        """What they look like so far, None while no line is known."""
        self._path = path
        self._score = 0
        self._begin = 0
        self._looked = 0
        self._sure: int | None = None
        """Where the first line stands that is known for sure, in whole pieces."""

    def look(self, lines: bytes) -> Format | None:
        """The format, once it is sure; to be called without lines too, when none came."""
        self.lines += lines
        while self._looked < len(self.lines):
            end = self._end_of_piece()
            grown = len(self.lines) - self._looked
            if end is None and lines and grown < _GROWN * (self._looked - self._begin):
                break
            piece = bytes(self.lines[self._begin : end])
            score, found = scored(piece, self._path)
            if score > self._score:
                self._score, self.likeliest = score, found
            self._looked = self._begin + len(piece)
            if end is not None:
                self._begin = end
            if self._score >= SURE and self._sure is None:
                self._sure = self._begin
            looked_on = self._sure is not None and self._looked - self._sure >= _LOOK_ON
            if self._score >= NAMED or looked_on:
                return self.likeliest
        return self.likeliest if self._score >= SURE else None

    def _end_of_piece(self) -> int | None:
        """Where the piece that begins now is full, None while it may grow."""
        full = self._begin + HEAD_BYTES
        if len(self.lines) < full:
            return None
        end = self.lines.rfind(b"\n", self._begin, full) + 1 or self.lines.find(b"\n", full) + 1
        return end or None

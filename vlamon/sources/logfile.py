"""Follows a log file: whatever happens to it on the way.

The bytes are somebody else's (`bytestream.py`); here they become whole lines, the format is found
(`recognition.py`), and its parser makes records of them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vlamon.protocol.commands import Command
from vlamon.records import Link, Record, RunInfo
from vlamon.sources import SourceError
from vlamon.sources.bytestream import ByteStream, Chunk, open_stream
from vlamon.sources.formats import (
    Format,
    LogParser,
    UnknownLines,
    UnrecognisedError,
    format_named,
    misfit,
    unrecognised,
)
from vlamon.sources.plain_text import Decoder, PlainText
from vlamon.sources.recognition import Recognition

MAX_LINE = 16 << 20
"""A line that grows past this is thrown away up to its end: progress bars write such lines."""
MAX_UNKNOWN = 32 << 20
"""After so many bytes without a known line, the file is not a log that we know."""
SETTLED = 1.0
"""Seconds without growth after which a complete last line need not have a newline."""


class LogFile:
    """A source that reads one log file, stdin for `-`."""

    def __init__(self, path: str, *, follow: bool = True, format_name: str | None = None) -> None:
        self.path = path
        self._follow = follow
        self._format: Format | None = format_named(format_name) if format_name else None
        self._parser: LogParser | None = self._format.open(path) if self._format else None
        self._stream: ByteStream = open_stream(path, follow=follow)
        self._partial = b""
        self._skipping = False
        self._recognition = Recognition(path)
        self._decoder = Decoder()
        self._plain = PlainText()
        self._introduced_run = self._unknown_reported = False
        self._live = False
        self._finished = False
        self._grown = time.monotonic()
        self._before_known = 0
        """Bytes read while no format is known, lines that were thrown away included."""
        self.overlong = 0
        """Lines thrown away because they were longer than MAX_LINE."""

    @property
    def finished(self) -> bool:
        """True when everything was read and nothing more can come."""
        return self._finished

    @property
    def format(self) -> Format | None:
        """The format in use, None while none is known."""
        return self._format

    @property
    def _binary(self) -> bool:
        """Whether the parser takes bytes as they come; before a format is known, by the name."""
        if self._format is not None:
            return self._format.binary
        return "tfevents" in self.path or self.path.endswith((".wandb", ".swanlab"))

    @property
    def parser(self) -> LogParser | None:
        """The parser in use, None while no format is known."""
        return self._parser

    @property
    def unknown(self) -> UnknownLines:
        """Lines that could not be used."""
        return self._parser.unknown if self._parser is not None else UnknownLines()

    def read(self, timeout: float) -> Sequence[Record]:
        """The records of what was written since the last call."""
        if self._finished:
            return []
        chunk = self._stream.read(timeout)
        records: list[Record] = [Link(chunk.link, chunk.text)] if chunk.link else []
        if chunk.restarted:
            self._partial = b""
            self._skipping = False
            self._decoder, self._plain = Decoder(), PlainText()
        lines = chunk.data if self._binary else self._plain_lines(chunk)
        if chunk.data:
            self._grown = time.monotonic()
            self._before_known += len(chunk.data)
            if self._parser is None and self._before_known > 4 * MAX_UNKNOWN:
                size = f"{self._before_known >> 20} MiB"
                raise UnrecognisedError(f"{self.path}: its first {size} are no lines of a log.")
        elif self._is_settled():
            # Its newline, should it come after all, is an empty line then.
            lines, self._partial = self._partial + b"\n", b""
        if lines or not chunk.data:
            records += self._parse(lines)
        if chunk.end:
            records += self._finish()
        elif chunk.caught_up and self._recognition.lines and not self._unknown_reported:
            self._unknown_reported = True
            text = f"no line of {self.path} is in a known format yet; looking on as it grows"
            records.append(Link("waiting", f"{text} (--format NAME forces one)"))
        elif chunk.caught_up and self._introduced_run and not self._live:
            self._live = True
            records.append(Link("live", f"following {self.path}"))
        return records

    def send(self, command: Command) -> None:
        """Refuse: a log file takes no commands."""
        raise SourceError(
            f"{self.path} is a log file and cannot {command.name}; "
            "commands need a training that is watched over its socket."
        )

    def close(self) -> None:
        """Release the file and its watch."""
        self._stream.close()

    def _plain_lines(self, chunk: Chunk) -> bytes:
        data = self._decoder.bytes_of(chunk.data, end=chunk.end)
        return self._plain.lines(self._whole_lines(data, chunk.end))

    def _whole_lines(self, data: bytes, end: bool) -> bytes:
        """The new bytes up to the last newline, the rest kept for later.

        At the end the last line counts without its newline: most files that lack it are whole.
        """
        cut = data.rfind(b"\n") + 1
        if cut:
            lines, self._partial = self._partial + data[:cut], data[cut:]
        else:
            lines, self._partial = b"", self._partial + data
        if self._skipping and lines:
            lines = lines[lines.find(b"\n") + 1 :]
            self._skipping = False
        if len(self._partial) > MAX_LINE or (self._skipping and self._partial):
            self.overlong += not self._skipping
            self._partial, self._skipping = b"", True
        if end and self._partial:
            lines, self._partial = lines + self._partial + b"\n", b""
        return lines

    def _is_settled(self) -> bool:
        """Whether the last line lacks nothing but its newline: a run that ended leaves such logs.

        Only JSON says of itself that it is complete; `closs: 8.5` may become 8.512.
        """
        line = self._partial.strip()
        if not (line.startswith(b"{") and line.endswith(b"}")):
            return False
        if time.monotonic() - self._grown < SETTLED:
            return False
        try:
            json.loads(line)
        except (ValueError, RecursionError):
            return False
        return True

    def _parse(self, lines: bytes) -> list[Record]:
        if self._parser is not None:
            return self._introduced(self._parser.feed(lines)) if lines else []
        found = self._recognition.look(lines)
        if found is None and len(self._recognition.lines) > MAX_UNKNOWN:
            found = self._recognition.likeliest
            if found is None:
                raise unrecognised(bytes(self._recognition.lines), self.path)
        return [] if found is None else self._taken(found)

    def _taken(self, found: Format) -> list[Record]:
        """Take this format, and read the lines that waited for it."""
        parser = found.open(self.path)
        self._format, self._parser = found, parser
        lines, self._recognition = self._recognition.lines, Recognition(self.path)
        return self._introduced(parser.feed(bytes(lines)))

    def _introduced(self, records: list[Record]) -> list[Record]:
        """The RunInfo before the first other record; a parser's own one gets name and source."""
        named = [
            replace(record, name=record.name or self._name, source=record.source or self.path)
            if isinstance(record, RunInfo)
            else record
            for record in records
        ]
        if not self._introduced_run and named:
            self._introduced_run = True
            if not isinstance(named[0], RunInfo):
                named.insert(0, RunInfo(run_id=self.path, name=self._name, source=self.path))
        return named

    @property
    def _name(self) -> str:
        if self.path == "-":
            return "stdin"
        path = Path(self.path).resolve()
        return path.parent.name or path.name

    def _finish(self) -> list[Record]:
        self._finished = True
        records: list[Record] = []
        if self._parser is None:
            found = self._recognition.look(b"") or self._recognition.likeliest
            if found is None:
                raise self._nothing_known()
            records += self._taken(found)
        assert self._parser is not None
        records += self._introduced(self._parser.finish())
        if not self._introduced_run and self.unknown.count and self._format is not None:
            raise misfit(self._format, self.unknown, self.path)
        return [*records, Link("ended", f"read to the end of {self.path}")]

    def _nothing_known(self) -> SourceError:
        if self._recognition.lines.strip():
            return unrecognised(bytes(self._recognition.lines), self.path)
        return UnrecognisedError(f"{self.path} is empty: there is no line to read yet.")

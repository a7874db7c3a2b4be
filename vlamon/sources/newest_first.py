"""A long log on screen at once: its newest part first, all of it a little later.

Reading a gigabyte takes seconds, and the first question about a log is how the run is doing now.
The last few megabytes are parsed and shown; then the file is read from its start, and when that
has caught up, the whole takes the place of the part. From then on it is followed like any log.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from vlamon.protocol.commands import Command
from vlamon.records import Backfill, BatchBlock, IntervalBlock, Link, Record, RunInfo
from vlamon.sources.formats import HEAD_BYTES, Format, UnknownLines, format_named, sniff
from vlamon.sources.logfile import LogFile
from vlamon.sources.plain_text import PlainText

LONG = 48 << 20
"""A file from this size on is shown newest part first."""
NEWEST = 2 << 20
"""Bytes of the newest part."""
PAINT = 0.4
"""Seconds that a screen gets to paint the newest part before the long reading begins: both want
the interpreter."""


def long_log(path: str, format_name: str | None = None) -> Format | None:
    """The format of a log that is long enough, and may be read from its middle; else None."""
    try:
        if path == "-" or not os.path.isfile(path) or os.path.getsize(path) < LONG:
            return None
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return None
    if head.startswith((b"\x1f\x8b", b"\xff\xfe", b"\xfe\xff")):
        return None  # gzip, or UTF-16: neither can be read from its middle
    head = PlainText().lines(head)
    whole = head[: head.rfind(b"\n") + 1]
    found = format_named(format_name) if format_name else sniff(whole, path)
    return found if found is not None and found.open_middle is not None else None


class NewestFirst:
    """A source over one long log file."""

    def __init__(self, path: str, known: Format, *, follow: bool = True) -> None:
        self.path = path
        self._format = known
        self._size = os.path.getsize(path)
        self._whole = LogFile(path, follow=follow, format_name=known.name)
        self._shown = False
        self._painting = threading.Event()
        self._caught_up = False

    @property
    def finished(self) -> bool:
        """True when everything was read and nothing more can come."""
        return self._shown and self._whole.finished

    @property
    def unknown(self) -> UnknownLines:
        """Lines that could not be used."""
        return self._whole.unknown

    def read(self, timeout: float) -> Sequence[Record]:
        """First the newest part, then the whole in pieces, then what is written."""
        if not self._shown:
            self._shown = True
            return self._newest()
        if not self._painting.is_set():
            self._painting.wait(PAINT)
            self._painting.set()
        records = self._whole.read(timeout)
        if self._caught_up:
            return records
        rows = tuple(r for r in records if isinstance(r, BatchBlock | IntervalBlock | RunInfo))
        others = [r for r in records if not isinstance(r, BatchBlock | IntervalBlock)]
        self._caught_up = any(isinstance(r, Link) and r.state in ("live", "ended") for r in others)
        return [Backfill(rows, self._caught_up), *others]

    def send(self, command: Command) -> None:
        """Refuse: a log file takes no commands."""
        self._whole.send(command)

    def close(self) -> None:
        """Release the file and its watch."""
        self._painting.set()
        self._whole.close()

    def _newest(self) -> Sequence[Record]:
        with open(self.path, "rb") as file:
            file.seek(max(0, self._size - NEWEST))
            data = file.read(NEWEST)
        lines = data[data.find(b"\n") + 1 : data.rfind(b"\n") + 1]
        assert self._format.open_middle is not None
        parser = self._format.open_middle(self.path)
        kinds = (BatchBlock, IntervalBlock, RunInfo)
        records = [record for record in parser.feed(lines) if isinstance(record, kinds)]
        before = (self._size - len(data)) / 1e6
        text = f"newest part of {self.path}; reading the {before:,.0f} MB before it"
        return [*records, Link("live", text)]

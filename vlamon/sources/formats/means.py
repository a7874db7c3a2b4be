"""For formats that print a row every so many steps, as the mean over them: the rows say so then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vlamon.records import BatchBlock, Record
from vlamon.sources.formats import LogParser


class MeansParser:
    """A parser whose rows are means over the steps since the row before."""

    def __init__(self, parser: LogParser) -> None:
        self.unknown = parser.unknown
        self._parser = parser

    def feed(self, data: bytes) -> list[Record]:
        """Records of these whole lines."""
        return [_marked(record) for record in self._parser.feed(data)]

    def finish(self) -> list[Record]:
        """Records that waited for a line which will not come."""
        return [_marked(record) for record in self._parser.finish()]


def of_means(opener: Callable[[str], LogParser]) -> Callable[[str], LogParser]:
    """The same parser for a `Format`, its rows marked as means."""
    return lambda path: MeansParser(opener(path))


def _marked(record: Record) -> Record:
    return replace(record, averaged=True) if isinstance(record, BatchBlock) else record

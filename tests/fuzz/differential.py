"""The same log or stream told otherwise must be the same numbers: cut, re-encoded, interleaved."""

from __future__ import annotations

import gzip
import math
import random
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from vlamon.protocol.frames import FrameReader
from vlamon.protocol.journal import Scanner, Sealed
from vlamon.records import BatchBlock, Column, EpochBlock, EpochRow, IntervalBlock, Record
from vlamon.sources.logfile import LogFile

Cell = tuple[str, object, str, float]
"""Kind of row, its place, the metric and its value."""


def cells(records: list[Record]) -> set[Cell]:
    """Every value that was read, with its place; NaN as a number that equals itself."""
    found: set[Cell] = set()
    for record in records:
        if isinstance(record, BatchBlock | EpochBlock):
            found |= _cells_of(record, record.columns)
        elif isinstance(record, IntervalBlock):
            found |= _cells_of(record, record.metrics)
        elif isinstance(record, EpochRow):
            place = (record.split, record.epoch)
            found |= {("epoch", place, name, value) for name, value in record.metrics.items()}
    return {(kind, place, name, _equal(value)) for kind, place, name, value in found}


def _equal(value: float) -> float:
    return value if math.isfinite(value) else -1e300


def _cells_of(
    block: BatchBlock | IntervalBlock | EpochBlock, columns: Mapping[str, Column]
) -> set[Cell]:
    kind = "epoch" if isinstance(block, EpochBlock) else type(block).__name__
    found: set[Cell] = set()
    for name, column in columns.items():
        for row, value in enumerate(column.values):
            if column.present is None or column.present[row]:
                found.add((kind, _place(block, row), name, float(value)))
    return found


def _place(block: BatchBlock | IntervalBlock | EpochBlock, row: int) -> object:
    if isinstance(block, BatchBlock):
        return int(block.step[row])
    if isinstance(block, IntervalBlock):
        return (int(block.epoch[row]), int(block.first[row]), int(block.last[row]))
    return (block.split, float(block.epoch[row]))


def read(data: bytes, name: str) -> set[Cell]:
    """What a log of these bytes says."""
    with tempfile.TemporaryDirectory(prefix="vlamon-fuzz-") as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        source = LogFile(str(path), follow=False)
        records: list[Record] = []
        while not source.finished:
            records += source.read(0.0)
        source.close()
    return cells(records)


def read_growing(data: bytes, name: str, rng: random.Random) -> set[Cell]:
    """The same, written in pieces of any length while it is followed."""
    with tempfile.TemporaryDirectory(prefix="vlamon-fuzz-") as folder:
        path = Path(folder) / name
        path.touch()
        source = LogFile(str(path), follow=True)
        records: list[Record] = []
        at = 0
        with path.open("ab", buffering=0) as log:
            while at < len(data):
                size = rng.choice((1, 2, 7, 63, 500, 4096))
                log.write(data[at : at + size])
                at += size
                records += source.read(0.0)
        for _ in range(3):
            records += source.read(0.0)
        if source.parser is not None:
            records += source.parser.finish()
        source.close()
    return cells(records)


def utf16(data: bytes) -> bytes:
    """As a Windows shell redirects it."""
    return data.decode("utf-8").encode("utf-16")


def crlf(data: bytes) -> bytes:
    """Lines that end as on Windows."""
    return data.replace(b"\n", b"\r\n")


def coloured(data: bytes) -> bytes:
    """Every line in a colour, as a terminal recorder keeps it."""
    return b"\n".join(
        b"\x1b[32m" + line + b"\x1b[0m" if line else b"" for line in data.split(b"\n")
    )


def ranked(data: bytes) -> bytes:
    """Every line behind torchrun's mark, and rank 1 saying the same."""
    lines = data.split(b"\n")
    return b"\n".join(
        mark + line if line else b"" for line in lines for mark in (b"[rank0]: ", b"[rank1]: ")
    )


def chatty(data: bytes) -> bytes:
    """Warnings of other libraries between the lines."""
    noise = b"/usr/lib/python3/site.py:12: UserWarning: something is deprecated\n"
    lines = data.splitlines(keepends=True)
    return b"".join(line + (noise if at % 3 == 2 else b"") for at, line in enumerate(lines))


RETOLD: dict[str, Callable[[bytes], bytes]] = {
    "utf16": utf16,
    "crlf": crlf,
    "coloured": coloured,
    "ranked": ranked,
    "chatty": chatty,
}


def retold(data: bytes, name: str, rng: random.Random) -> str:
    """Which way of telling changed a log's numbers; empty for none."""
    expected = read(data, name)
    whole = name.endswith((".json", ".csv")) or data.lstrip()[:1] == b"{" or b"tfevents" in data
    for way, change in RETOLD.items():
        if whole and way in ("chatty", "ranked"):
            continue  # a document, not lines of text that anyone may write between
        if read(change(data), name) != expected:
            return way
    if read(gzip.compress(data), name + ".gz") != expected:
        return "gzip"
    return "" if read_growing(data, name, rng) == expected else "growing"


def frames_cut(data: bytes, rng: random.Random) -> bool:
    """Whether frames come out the same however the stream is cut."""
    whole = FrameReader()
    whole.feed(data)
    expected = list(whole.payloads())
    reader, found, at = FrameReader(), [], 0
    while at < len(data):
        size = rng.choice((1, 2, 3, 5, 100))
        reader.feed(data[at : at + size])
        found += list(reader.payloads())
        at += size
    return found == expected


def journal_cut(data: bytes, rng: random.Random) -> bool:
    """Whether a journal's good frames are the same however it is read."""
    whole = Scanner()
    expected = [*whole.feed(data), *whole.finish()]
    scanner, found, at = Scanner(), [], 0
    while at < len(data):
        size = rng.choice((1, 3, 17, 1000))
        found += list(scanner.feed(data[at : at + size]))
        at += size
    found += list(scanner.finish())
    kept = [each.payload for each in found if isinstance(each, Sealed)]
    return kept == [each.payload for each in expected if isinstance(each, Sealed)]

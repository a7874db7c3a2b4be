"""Reads whole logs at once, for `analyze`, `diff` and agents."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vlamon.analysis.evidence import KeyOrder
from vlamon.analysis.log_end import LogEnd, log_end
from vlamon.analysis.printed_settings import PrintedSetting, printed_settings
from vlamon.errors import nearest_file
from vlamon.records import EpochBlock, EpochRow, Link, Record
from vlamon.sources import Source, SourceError
from vlamon.sources.formats import FormatError, UnknownLines
from vlamon.sources.logfile import LogFile
from vlamon.sources.one_run import OneRun
from vlamon.sources.plain_text import PlainText

_MOST_LINES = 100_000
"""Epoch lines whose key order is compared; no run has more epochs than that."""
_HEAD = 1 << 20
"""Bytes at the begin of a log that are searched for settings."""
_TAIL = 64 << 10
"""Bytes at the end of a log that are searched for what ended the run."""
_LAST = 60
"""Lines at the end of a file without rows that are: an error further up was survived."""


@dataclass(frozen=True, slots=True)
class FileContents:
    """Everything that one file said."""

    path: str
    """As given."""
    format: str
    """Name of its format."""
    records: tuple[Record, ...]
    """In order."""
    unknown: UnknownLines
    """Lines that were not understood."""
    orders: tuple[KeyOrder, ...] = ()
    """The order of its meters, epoch by epoch, where the format shows one."""
    averaged: tuple[EpochRow, ...] = ()
    """Epoch lines that a batch log holds besides, for a run that has no file of them."""
    end: LogEnd | None = None
    """What the log says of the end of its run, where that is a crash."""
    printed: tuple[PrintedSetting, ...] = ()
    """Settings that the training printed into it."""


def read_log(path: str, format_name: str | None = None) -> FileContents:
    """Read a log to its end; raises SourceError with the sentence for the user."""
    if path != "-" and not Path(path).exists():
        raise SourceError(
            f"{path} does not exist{nearest_file(path)}; `vlamon` alone lists what is here."
        )
    source = LogFile(path, follow=False, format_name=format_name)
    records: list[Record] = []
    try:
        while not source.finished:
            records += source.read(1.0)
    except FormatError as error:
        raise _with_its_end(error, path) from None
    finally:
        source.close()
    name = source.format.name if source.format is not None else ""
    is_text = path != "-" and name != "tensorboard"
    return FileContents(
        path,
        name,
        tuple(records),
        source.unknown,
        tuple(_orders(path, name, source)),
        tuple(getattr(source.parser, "averaged", ())),
        log_end(_lines(path, last=_TAIL)) if is_text else None,
        tuple(printed_settings(_lines(path, first=_HEAD), Path(path).name)) if is_text else (),
    )


def _with_its_end(error: FormatError, path: str) -> FormatError:
    """The error, with what the log itself says of the end of its run."""
    end = None if path == "-" else log_end(_lines(path, last=_TAIL))
    if end is None:
        return error
    return type(error)(*error.lines, f"  the log ends in an error: {end.line!r}")


def records_of(logs: Sequence[FileContents]) -> list[Record]:
    """All records of a run's logs: a row that two files have counts once.

    Epoch lines of a batch log are taken where no other log has them.
    """
    one_run = OneRun()
    several = len(logs) > 1
    records: list[Record] = []
    for number, log in enumerate(logs):
        records += one_run.take(number, log.records) if several else log.records
    splits = {record.split for record in records if isinstance(record, EpochBlock | EpochRow)}
    if "train" not in splits:
        records += [row for log in logs for row in log.averaged]
    return records


def read_files(
    paths: Sequence[str], format_name: str | None = None
) -> tuple[list[FileContents], list[SourceError]]:
    """Every file of a run; of several, those that could be read, and why others could not."""
    logs: list[FileContents] = []
    problems: list[SourceError] = []
    ends: list[LogEnd | None] = []
    for path in paths:
        try:
            logs.append(read_file(path, format_name))
        except SourceError as error:
            problems.append(error)
            if isinstance(error, FormatError) and path != "-":
                ends.append(_last_error(_lines(path, last=_TAIL)))
    if not logs:
        raise problems[0]
    # What a job printed to stderr has no rows, and says how the run ended.
    end = next(filter(None, ends), None)
    if end is not None and all(log.end is None for log in logs):
        logs[0] = replace(logs[0], end=end)
    return logs, problems


def _last_error(lines: Sequence[str]) -> LogEnd | None:
    """What a file without rows ends in; a long traceback may begin far above its last lines."""
    last = lines[-_LAST:]
    end = log_end(last) or log_end(lines)
    return end if end is not None and any(end.line in line for line in last) else None


def read_file(path: str, format_name: str | None = None) -> FileContents:
    """Everything that a log or a journal says."""
    if path.endswith(".vlaj") and Path(path).exists():
        from vlamon.sources.journal import JournalSource

        return read_source(path, "journal", JournalSource(path, follow=False))
    return read_log(path, format_name)


def read_source(path: str, name: str, source: Source) -> FileContents:
    """Read any source to its end."""
    records: list[Record] = []
    try:
        while not source.finished:
            records += source.read(1.0)
    finally:
        source.close()
    failed = [r for r in records if isinstance(r, Link) and r.state == "failed"]
    if failed:
        raise SourceError(failed[0].text)
    return FileContents(path, name, tuple(records), UnknownLines())


def _lines(path: str, *, first: int = 0, last: int = 0) -> list[str]:
    """The first or last lines of a file; a compressed one gives bytes in which nothing is found."""
    with open(path, "rb") as log:
        if last:
            log.seek(max(0, log.seek(0, 2) - last))
        text = log.read(first or last).replace(b"\0", b"")  # UTF-16 without its zeros
    text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return PlainText().lines(text).decode(errors="replace").split("\n")


def _orders(path: str, name: str, source: LogFile) -> Iterable[KeyOrder]:
    parser_orders: Sequence[tuple[int, tuple[str, ...]]] = getattr(source.parser, "orders", ())
    for epoch, names in parser_orders:
        yield KeyOrder(f"epoch {epoch} of {Path(path).name}", names)
    if name == "reference-epoch" and path != "-" and not path.endswith(".gz"):
        yield from _orders_of_lines(path)


def _orders_of_lines(path: str) -> Iterable[KeyOrder]:
    last: tuple[str, ...] = ()
    with open(path, "rb") as lines:
        for number, line in enumerate(lines):
            if number >= _MOST_LINES:
                return
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if not isinstance(entry, dict):
                continue
            names = tuple(name.removeprefix("train_") for name in entry if name != "epoch")
            if names and names != last:
                last = names
                yield KeyOrder(f"epoch {entry.get('epoch')} of {Path(path).name}", names)

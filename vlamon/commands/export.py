"""`vlamon export FILE -o out.csv`: the numbers of a journal or a log for other programs."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Literal

import click

from vlamon.errors import VlamonError
from vlamon.records import Record
from vlamon.sources import Source
from vlamon.sources.bytestream import JOURNAL, starts_with

Format = Literal["csv", "jsonl"]


@click.command()
@click.argument("file", type=click.Path())
@click.option("-o", "--output", metavar="PATH", default="-", help="Where to; stdout without.")
@click.option("--as", "form", type=click.Choice(["csv", "jsonl"]), help="Form; by the name else.")
@click.option(
    "--rows",
    type=click.Choice(["batch", "interval", "epoch", "event", "gpu"]),
    help="Which rows a CSV holds; without: batches, else intervals, else epochs.",
)
@click.option("--format", "format_name", metavar="NAME", help="Force a log format.")
def command(
    file: str, output: str, form: Format | None, rows: str | None, format_name: str | None
) -> int:
    """Write a journal or a log as CSV or JSON Lines.

    Values are written exactly (float64, shortest form that reads back the same); a cell that was
    not logged is empty; what is not finite is nan, inf or -inf.
    """
    if file == "-":
        raise click.UsageError("a file is read twice, so stdin cannot be exported")
    ending = os.path.splitext(output)[1].lower()
    by_name: Format = "jsonl" if ending in (".jsonl", ".json", ".ndjson") else "csv"
    if form is None and ending in (".xlsx", ".xls", ".parquet", ".feather", ".npz", ".pkl"):
        raise click.UsageError(f"{ending} is not written here; name a .csv or a .jsonl")
    with _writer(output) as out:
        if (form or by_name) == "jsonl":
            from vlamon.views.json_lines import json_lines

            for record in _records(file, format_name):
                out.writelines(json_lines(record))
        else:
            from vlamon.views.csv_rows import csv_rows

            def again() -> Iterator[Record]:
                return _records(file, format_name)

            out.writelines(csv_rows(again, rows, file))
    return 0


def _records(path: str, format_name: str | None) -> Iterator[Record]:
    source = opened(path, format_name)
    try:
        while not source.finished:
            yield from source.read(0.1)
    finally:
        source.close()


def opened(path: str, format_name: str | None = None) -> Source:
    """A journal or a log, read once to its end."""
    if os.path.isdir(path):
        path = os.path.join(path, "run.vlaj")
    if format_name is None and starts_with(path, JOURNAL):
        from vlamon.sources.journal import JournalSource

        return JournalSource(path, follow=False)
    from vlamon.sources.logfile import LogFile

    return LogFile(path, follow=False, format_name=format_name)


@contextlib.contextmanager
def _writer(path: str) -> Iterator[IO[bytes]]:
    """Stdout, or a file that appears under its name when it is complete."""
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    directory = os.path.dirname(os.path.abspath(path))
    try:
        descriptor, partial = tempfile.mkstemp(prefix=".vlamon-", dir=directory)
    except OSError as error:
        raise VlamonError(f"{path} cannot be written: {error.strerror}.") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        os.chmod(partial, 0o666 & ~_umask())
        os.replace(partial, path)
    except OSError as error:
        raise VlamonError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""`vlamon export FILE -o out.csv`: the numbers of a journal or a log for other programs."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Literal, get_args

import click

from vlamon.errors import unwritable
from vlamon.records import Record
from vlamon.sources import Source
from vlamon.sources.bytestream import JOURNAL, starts_with

Form = Literal["csv", "jsonl", "parquet", "tensorboard"]
ENDINGS: Mapping[str, Form] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".json": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
EVENT_FILE = "events.out.tfevents.0000000000.vlamon"
"""TensorBoard knows its files by this name; a second export takes the place of the first."""


@click.command()
@click.argument("file", type=click.Path())
@click.option("-o", "--output", metavar="PATH", default="-", help="Where to; stdout without.")
@click.option(
    "--as", "form", type=click.Choice(get_args(Form)), help="Form; without: by the output's name."
)
@click.option(
    "--rows",
    type=click.Choice(["batch", "interval", "epoch", "event", "gpu"]),
    help="Which rows a table holds; without: batches, else intervals, else epochs.",
)
@click.option("--format", "format_name", metavar="NAME", help="Force a log format.")
def command(
    file: str, output: str, form: Form | None, rows: str | None, format_name: str | None
) -> int:
    """Write a journal or a log as CSV, JSON Lines, Parquet or a TensorBoard event file.

    Values are written exactly (float64, shortest form that reads back the same; TensorBoard has
    float32); a cell that was not logged is empty; what is not finite is nan, inf or -inf. Parquet
    needs pip install 'vlamon[parquet]'; TensorBoard's form is a directory.
    """
    if file == "-":
        raise click.UsageError("a file is read twice, so stdin cannot be exported")
    form = form or _by_name(output)
    if form == "tensorboard":
        output = _event_file(output)

    def records() -> Iterator[Record]:
        return _records(file, format_name)

    with _writer(output) as out:
        _write(out, form, records, rows, file)
    return 0


def _by_name(output: str) -> Form:
    """The form that an output's name asks for."""
    if os.path.isdir(output) or output.endswith("/") or "tfevents" in os.path.basename(output):
        return "tensorboard"
    ending = os.path.splitext(output)[1].lower()
    if ending and ending not in ENDINGS:
        raise click.UsageError(f"{ending} is not written here; name a .csv, .jsonl or .parquet")
    return ENDINGS.get(ending, "csv")


def _event_file(output: str) -> str:
    if output == "-" or "tfevents" in os.path.basename(output):
        return output
    try:
        os.makedirs(output, exist_ok=True)
    except OSError as error:
        raise unwritable(output, error) from error
    return os.path.join(output, EVENT_FILE)


def _write(
    out: IO[bytes],
    form: Form,
    records: Callable[[], Iterator[Record]],
    rows: str | None,
    file: str,
) -> None:
    if form == "jsonl":
        from vlamon.views.json_lines import json_lines

        for record in records():
            out.writelines(json_lines(record))
    elif form == "parquet":
        from vlamon.views.parquet import write_parquet

        write_parquet(out, records, rows, file)
    elif form == "tensorboard":
        from vlamon.views.tfevents import event_file

        out.writelines(event_file(records()))
    else:
        from vlamon.views.csv_rows import csv_rows

        out.writelines(csv_rows(records, rows, file))


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
        raise unwritable(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        os.chmod(partial, 0o666 & ~_umask())
        os.replace(partial, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

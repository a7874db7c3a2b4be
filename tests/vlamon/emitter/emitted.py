"""What came out of an emitter, by its socket and in its journal."""

from __future__ import annotations

import time
from pathlib import Path

from vlamon.records import (
    BatchBlock,
    Record,
)
from vlamon.sources.journal import JournalSource
from vlamon.sources.stream import StreamSource


def read_until(source: StreamSource, wanted: type[Record], seconds: float = 60.0) -> list[Record]:
    """Everything that the source says until a record of that type came."""
    found: list[Record] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found.extend(source.read(0.1))
        if any(isinstance(record, wanted) for record in found):
            return found
    raise AssertionError(f"no {wanted} within {seconds} s, only {found}")


def of_type(records: list[Record], wanted: type) -> list:
    return [record for record in records if isinstance(record, wanted)]


def rows_of(records: list[Record]) -> list[tuple[int, dict[str, float]]]:
    """Step and logged values of each batch, whichever blocks the sidecar's looks made of them."""
    found = []
    for block in of_type(records, BatchBlock):
        for row, step in enumerate(block.step.tolist()):
            logged = {
                name: float(column.values[row])
                for name, column in block.columns.items()
                if column.present is None or column.present[row]
            }
            found.append((step, logged))
    return found


def journal_of(run_dir: Path, name: str = "run.vlaj") -> list[Record]:
    """All records of a finished run."""
    source = JournalSource(run_dir / name, follow=False)
    found: list[Record] = []
    while not source.finished:
        found += source.read(0.0)
    return found

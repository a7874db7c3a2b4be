"""Reads a few lines with a format, and shows what came of them."""

from __future__ import annotations

from vlamon.records import BatchBlock, EpochRow, Record
from vlamon.sources.formats import LogParser, format_named

Rows = list[tuple[int, dict[str, float]]]


def parsed(name: str, text: str) -> tuple[LogParser, list[Record]]:
    """The parser of this format after these lines, and what it made of them."""
    parser = format_named(name).open("x")
    return parser, parser.feed(text.encode()) + parser.finish()


def rows_of(records: list[Record]) -> Rows:
    """Step and values of each batch."""
    return [
        (
            int(block.step[row]),
            {
                name: float(column.values[row])
                for name, column in block.columns.items()
                if column.present is None or column.present[row]
            },
        )
        for block in records
        if isinstance(block, BatchBlock)
        for row in range(block.rows)
    ]


def rows(name: str, text: str) -> Rows:
    """Step and values of each batch in these lines."""
    return rows_of(parsed(name, text)[1])


def evaluations(name: str, text: str) -> list[tuple[str, int | None, dict[str, float]]]:
    """Split, step and values of each evaluation in these lines."""
    records = parsed(name, text)[1]
    return [(r.split, r.step, dict(r.metrics)) for r in records if isinstance(r, EpochRow)]

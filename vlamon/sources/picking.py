"""Some rows of a block as a block of their own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vlamon.records import BatchBlock, Column, EpochBlock, IntervalBlock

Rows = TypeVar("Rows", bound=BatchBlock | EpochBlock | IntervalBlock)


def picked(block: Rows, rows: NDArray[np.bool_] | slice, without: Collection[str] = ()) -> Rows:
    """These rows of a block, without these metrics; a metric that none of them has goes too."""
    if isinstance(block, IntervalBlock):
        numbers = {
            name: tuple(_cut(number, rows) for number in of)
            for name, of in block.printed.items()
            if name not in without
        }
        return replace(
            block,
            epoch=block.epoch[rows],
            first=block.first[rows],
            last=block.last[rows],
            metrics=_columns(block.metrics, rows, without),
            bound=_columns(block.bound, rows, without),
            printed={name: of for name, of in numbers.items() if not of or _holds(of[0])},
            step=None if block.step is None else block.step[rows],
            time=None if block.time is None else block.time[rows],
        )
    columns = _columns(block.columns, rows, without)
    if isinstance(block, EpochBlock):
        return replace(
            block,
            epoch=block.epoch[rows],
            columns=columns,
            step=None if block.step is None else block.step[rows],
            time=None if block.time is None else block.time[rows],
        )
    return replace(
        block,
        step=block.step[rows],
        epoch=block.epoch[rows],
        time=block.time[rows],
        columns=columns,
    )


def _columns(
    columns: Mapping[str, Column], rows: NDArray[np.bool_] | slice, without: Collection[str]
) -> dict[str, Column]:
    cut = {name: _cut(column, rows) for name, column in columns.items() if name not in without}
    return {name: column for name, column in cut.items() if _holds(column)}


def _cut(column: Column, rows: NDArray[np.bool_] | slice) -> Column:
    present = column.present
    return Column(column.values[rows], None if present is None else present[rows])


def _holds(column: Column) -> bool:
    return column.present is None or bool(column.present.any())

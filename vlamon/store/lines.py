"""Epoch lines and interval lines, held as columns and handed out as the records they were."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import overload

import numpy as np

from vlamon.records import Column, EpochBlock, EpochRow, Interval, IntervalBlock


def cells_of(columns: Mapping[str, Column], index: int) -> dict[str, float]:
    """What one row of a block logged, by name."""
    return {
        name: float(column.values[index])
        for name, column in columns.items()
        if column.present is None or column.present[index]
    }


def epoch_rows(block: EpochBlock) -> Iterator[EpochRow]:
    """Each line of a block as a record of its own."""
    return (epoch_row(block, index) for index in range(block.rows))


def epoch_row(block: EpochBlock, index: int) -> EpochRow:
    """One line of a block."""
    return EpochRow(
        epoch=float(block.epoch[index]),
        split=block.split,
        metrics=cells_of(block.columns, index),
        attempt=block.attempt,
        step=None if block.step is None else int(block.step[index]),
        time=None if block.time is None else _known(block.time[index]),
    )


def epoch_block(row: EpochRow) -> EpochBlock:
    """A single line as a block."""
    return EpochBlock(
        split=row.split,
        epoch=np.array([row.epoch], np.float64),
        columns={name: _cell(value) for name, value in row.metrics.items()},
        attempt=row.attempt,
        step=None if row.step is None else np.array([row.step], np.int64),
        time=None if row.time is None else np.array([row.time], np.float64),
    )


def interval_row(block: IntervalBlock, index: int) -> Interval:
    """One line of a block."""
    first = int(block.first[index])
    printed = {
        name: tuple(float(number.values[index]) for number in numbers)
        for name, numbers in block.printed.items()
        if numbers and (numbers[0].present is None or numbers[0].present[index])
    }
    return Interval(
        epoch=int(block.epoch[index]),
        first=None if first < 0 else first,
        last=int(block.last[index]),
        metrics=cells_of(block.metrics, index),
        bound=cells_of(block.bound, index),
        printed=printed,
        step=None if block.step is None else int(block.step[index]),
        time=None if block.time is None else _known(block.time[index]),
        attempt=block.attempt,
        not_inverted=block.not_inverted,
    )


def interval_block(row: Interval) -> IntervalBlock:
    """A single line as a block."""
    return IntervalBlock(
        epoch=np.array([row.epoch], np.int64),
        first=np.array([-1 if row.first is None else row.first], np.int64),
        last=np.array([row.last], np.int64),
        metrics={name: _cell(value) for name, value in row.metrics.items()},
        bound={name: _cell(value) for name, value in row.bound.items()},
        printed={name: tuple(map(_cell, numbers)) for name, numbers in row.printed.items()},
        step=None if row.step is None else np.array([row.step], np.int64),
        time=None if row.time is None else np.array([row.time], np.float64),
        attempt=row.attempt,
        not_inverted=row.not_inverted,
    )


class EpochLines(Sequence[EpochRow]):
    """Epoch lines in order of arrival; records are made when they are asked for."""

    def __init__(self) -> None:
        self._blocks: list[EpochBlock] = []
        self._ends: list[int] = []

    def append(self, block: EpochBlock) -> None:
        """Take further lines in."""
        self._blocks.append(block)
        self._ends.append(len(self) + block.rows)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> EpochRow: ...
    @overload
    def __getitem__(self, index: slice) -> list[EpochRow]: ...
    def __getitem__(self, index: int | slice) -> EpochRow | list[EpochRow]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        block, offset = _located(self._ends, index)
        return epoch_row(self._blocks[block], offset)


class IntervalLines(Sequence[Interval]):
    """Interval lines in order of arrival; records are made when they are asked for."""

    def __init__(self) -> None:
        self._blocks: list[IntervalBlock] = []
        self._ends: list[int] = []

    @property
    def blocks(self) -> Sequence[IntervalBlock]:
        """The lines as they came, columnar: what an analysis of a million lines reads."""
        return self._blocks

    def append(self, block: IntervalBlock) -> None:
        """Take further lines in."""
        self._blocks.append(block)
        self._ends.append(len(self) + block.rows)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Interval: ...
    @overload
    def __getitem__(self, index: slice) -> list[Interval]: ...
    def __getitem__(self, index: int | slice) -> Interval | list[Interval]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        block, offset = _located(self._ends, index)
        return interval_row(self._blocks[block], offset)


def _located(ends: list[int], index: int) -> tuple[int, int]:
    length = ends[-1] if ends else 0
    if index < 0:
        index += length
    if not 0 <= index < length:
        raise IndexError(index)
    block = bisect_right(ends, index)
    return block, index - (ends[block - 1] if block else 0)


def _cell(value: float) -> Column:
    return Column(np.array([value], np.float64))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

"""Makes one run of what several files say: repeated rows count once, attempts are told apart.

Files of one run compete where they have the same main loss: stdout and stderr of a job print the
same rows, a requeued job goes on in a file of its own, sometimes from a step that the one before
had passed. Files with other metrics stand beside each other and are left as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vlamon.analysis.main_loss import main_loss
from vlamon.records import BatchBlock, Column, EpochBlock, EpochRow, IntervalBlock, Record
from vlamon.sources.picking import Rows, picked
from vlamon.store.lines import epoch_block, epoch_rows

_REMEMBERED = 1 << 22
"""Rows of a file that later files are compared with; 16 bytes each."""
_SAME = 5e-4
"""Relative difference of one value printed with different numbers of digits."""

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(slots=True)
class _Said:
    """What one file said of one kind of row."""

    names: dict[str, None] = field(default_factory=dict)
    """Its metrics."""
    attempts: dict[int, int] = field(default_factory=dict)
    """The run's attempt for each of the file's own."""
    last: dict[int, float] = field(default_factory=dict)
    """Last place of each of the run's attempts."""
    _rows: list[tuple[F64, F64, I64]] = field(default_factory=list)
    _held: int = 0
    _joined: bool = True

    def remember(self, places: F64, values: F64, attempt: int) -> None:
        """Note the main loss at these places, until too many are held."""
        if self._held < _REMEMBERED:
            self._rows.append((places, values, np.full(len(places), attempt)))
            self._held += len(places)
            self._joined = False

    def repeats(self, places: F64, values: F64) -> I64:
        """The attempt of the row that each of these repeats; -1 where this file lacks it."""
        found = np.full(len(places), -1)
        if not self._rows:
            return found
        if not self._joined:
            known, said, attempts = (np.concatenate(part) for part in zip(*self._rows, strict=True))
            order = np.argsort(known, kind="stable")
            self._rows = [(known[order], said[order], attempts[order])]
            self._joined = True
        known, said, attempts = self._rows[0]
        first = np.searchsorted(known, places, "left")
        end = np.searchsorted(known, places, "right")
        for nth in range(int((end - first).max(initial=0))):  # attempts pass a place again
            there = first + nth < end
            at = np.where(there, first + nth, 0)
            same = np.isclose(said[at], values, rtol=_SAME, atol=1e-12, equal_nan=True)
            found = np.where(there & same & (found < 0), attempts[at], found)
        return found


class OneRun:
    """Takes the records of several files, by the file's number, and returns those of the run."""

    def __init__(self) -> None:
        self._said: dict[str, dict[int, _Said]] = {}

    def take(self, file: int, records: Sequence[Record]) -> list[Record]:
        """The same records without what another file said before, with the run's attempts."""
        taken: list[Record] = []
        for record in records:
            if isinstance(record, EpochRow):
                blocks = self._rows(file, epoch_block(record))
                taken += [row for block in blocks for row in epoch_rows(block)]
            elif isinstance(record, BatchBlock | IntervalBlock | EpochBlock):
                taken += self._rows(file, record)
            else:
                taken.append(record)
        return taken

    def _rows(self, file: int, block: Rows) -> list[Rows]:
        """What is left of a block, under the run's attempt."""
        files = self._said.setdefault(_kind(block), {})
        own = files.setdefault(file, _Said())
        columns = _columns(block)
        own.names.update(dict.fromkeys(columns))
        main = main_loss(own.names)
        if main is None or not block.rows:
            return [block]
        rivals = [said for n, said in files.items() if n != file and main_loss(said.names) == main]
        places, values = _places(block), _filled(columns.get(main), block.rows)
        of = np.full(block.rows, -1)
        for rival in rivals:
            of = np.where(of < 0, rival.repeats(places, values), of)
        repeated = of >= 0
        parts = [block]
        if repeated.any():
            own.attempts.setdefault(block.attempt, int(of[repeated][0]))
            known = {name for rival in rivals for name in rival.names}
            parts = [picked(block, repeated, known)] if set(columns) - known else []
            parts += [] if repeated.all() else [picked(block, ~repeated)]
        placed = [_placed(own, rivals, part) for part in parts]
        own.remember(places, values, own.attempts.get(block.attempt, block.attempt))
        return placed


def _placed(own: _Said, rivals: Sequence[_Said], block: Rows) -> Rows:
    """The block under the run's attempt."""
    places = _places(block)
    passed = {attempt: place for rival in rivals for attempt, place in rival.last.items()}
    attempt = own.attempts.get(block.attempt)
    if attempt is None:
        newest = max([*passed, *own.last], default=-1)
        goes_on = not own.attempts and newest in passed and places[0] > passed[newest]
        attempt = newest if goes_on else max(newest + 1, 0 if rivals else block.attempt)
        own.attempts[block.attempt] = attempt
    own.last[attempt] = max(own.last.get(attempt, -np.inf), float(places[-1]))
    return block if attempt == block.attempt else replace(block, attempt=attempt)


def _kind(block: Rows) -> str:
    """Rows of the same kind may be the same rows."""
    return block.split if isinstance(block, EpochBlock) else type(block).__name__


def _columns(block: Rows) -> dict[str, Column]:
    return dict(block.metrics if isinstance(block, IntervalBlock) else block.columns)


def _places(block: Rows) -> F64:
    """Where the rows stand, in a number that grows within an attempt."""
    if isinstance(block, EpochBlock):
        return np.asarray(block.epoch if block.step is None else block.step, np.float64)
    if isinstance(block, IntervalBlock):
        step = block.step if block.step is not None else block.epoch * float(1 << 32) + block.last
        return np.asarray(step, np.float64)
    return np.asarray(block.step, np.float64)


def _filled(column: Column | None, rows: int) -> F64:
    """A column's values, NaN where it has none."""
    if column is None:
        return np.full(rows, np.nan)
    values = np.asarray(column.values, np.float64)
    return values if column.present is None else np.where(column.present, values, np.nan)

"""Short ways to write records in tests of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vlamon.records import BatchBlock, Column


def column(cells: Sequence[float | None]) -> Column:
    """A column; None is a cell that was not logged."""
    values = np.array([0.0 if cell is None else cell for cell in cells], np.float64)
    present = np.array([cell is not None for cell in cells], bool)
    return Column(values, None if present.all() else present)


def batches(
    cells: Mapping[str, Sequence[float | None]],
    *,
    first_step: int = 0,
    attempt: int = 0,
    steps: Sequence[int] | None = None,
    epochs: Sequence[float] | None = None,
    times: Sequence[float] | None = None,
    weights: Mapping[str, float] | None = None,
) -> BatchBlock:
    """A block of batches, a step apart unless told otherwise."""
    count = len(next(iter(cells.values())))
    step = np.arange(first_step, first_step + count) if steps is None else np.array(steps)
    return BatchBlock(
        seq=0,
        attempt=attempt,
        step=step.astype(np.int64),
        epoch=np.full(count, np.nan) if epochs is None else np.array(epochs, np.float64),
        time=np.full(count, np.nan) if times is None else np.array(times, np.float64),
        columns={name: column(values) for name, values in cells.items()},
        weights=weights or {},
    )

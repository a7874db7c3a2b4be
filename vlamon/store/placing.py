"""Where the averages of an epoch or an interval lie on the axis of the batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlamon.store.table import Attempt, RowTable

I64 = NDArray[np.int64]


def place_epochs(epochs: NDArray[Any], primary: RowTable, unknown: I64) -> I64:
    """Step of the last row of each epoch; `unknown` where no row of it is there."""
    placed = unknown.copy()
    if not len(epochs):
        return placed
    order = np.argsort(epochs, kind="stable")
    after = np.floor(epochs[order].astype(np.float64)) + 1
    for rows in primary.rows_of_edges(after, "epoch", None):
        for index, row in zip(order.tolist(), (rows - 1).tolist(), strict=True):
            if row < 0:
                continue
            step = int(primary.axis("step", row, row + 1)[0])
            epoch = float(primary.axis("epoch", row, row + 1)[0])
            if epoch >= np.floor(epochs[index]):
                placed[index] = step
    return placed


def places_of_edges(
    steps: I64, attempts: Sequence[Attempt], edges: NDArray[np.float64], attempt: int | None
) -> list[I64]:
    """Rows at which bins begin, for a small table whose rising steps are given."""
    places = []
    for stretch in attempts:
        if attempt is None or stretch.number == attempt:
            part = steps[stretch.first_row : stretch.end_row]
            places.append(stretch.first_row + np.searchsorted(part, edges, "left"))
    return places

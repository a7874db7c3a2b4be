"""Finding batches: the worst ones of a metric, and means around two of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vlamon.store import RunStore

WORST = 50
"""Batches that the search goes through."""
APART = 5
"""Rows within which a further bad batch belongs to the same excursion."""
WINDOW = 100
"""Batches whose mean stands for a place in the run."""


def worst_rows(store: RunStore, metric: str) -> list[int]:
    """Return the rows of a metric's worst batches: non-finite ones first, then the highest."""
    values = np.asarray(store.values(metric, 0, store.rows), np.float64)
    present = store.present(metric, 0, store.rows)
    loud = np.where(np.isfinite(values), values, np.inf)
    loud = np.where(present, loud, -np.inf)
    found: list[int] = []
    for row in np.argsort(-loud, kind="stable")[: WORST * APART * 2].tolist():
        if loud[row] == -np.inf or len(found) == WORST:
            break
        if all(abs(row - other) > APART for other in found):
            found.append(row)
    return found


def mean_around(store: RunStore, metric: str, row: int) -> float:
    """Return the mean of the finite values of up to WINDOW batches around a row; NaN for none."""
    first = max(0, min(row - WINDOW // 2, store.rows - WINDOW))
    values = np.asarray(store.values(metric, first, min(store.rows, first + WINDOW)), np.float64)
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")

"""Means over the batches that count for an epoch: a rollback takes back those that it undoes."""

from __future__ import annotations

from array import array
from collections import deque

ROWS = 4096
"""Batches remembered where an epoch is shorter: a rollback may go back over several epochs."""


class EpochMeans:
    """Values of the newest batches by step, in order of their steps."""

    def __init__(self, steps_per_epoch: int) -> None:
        self._per_epoch = steps_per_epoch
        self._rows: deque[tuple[int, tuple[str, ...], array[float]]] = deque(
            maxlen=max(ROWS, steps_per_epoch)
        )

    def add(self, step: int, values: dict[str, float]) -> None:
        """Take in the batch of a step."""
        self._rows.append((step, tuple(values), array("d", values.values())))

    def forget_from(self, step: int) -> None:
        """The training went back: `step` is trained again, and all behind it."""
        while self._rows and self._rows[-1][0] >= step:
            self._rows.pop()

    def means(self, epoch: int) -> dict[str, float]:
        """Each metric's mean over the batches of an epoch that have it."""
        first, end = epoch * self._per_epoch, (epoch + 1) * self._per_epoch
        totals: dict[str, float] = {}
        counts: dict[str, int] = {}
        for step, names, values in self._rows:
            if first <= step < end:
                for name, value in zip(names, values, strict=True):
                    totals[name] = totals.get(name, 0.0) + value
                    counts[name] = counts.get(name, 0) + 1
        return {name: total / counts[name] for name, total in totals.items()}

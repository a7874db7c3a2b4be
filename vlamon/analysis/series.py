"""One metric's values in order, and where each of them stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Grain = Literal["batch", "interval", "epoch"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Series:
    """One metric: the values that were logged, in order, and where each of them stands."""

    name: str
    """Metric name."""
    grain: Grain
    """What one value is a mean over."""
    values: Floats
    """The values; NaN and inf are values."""
    step: Ints
    """Global step of each; a running number where the log has none."""
    epoch: Floats
    """Epoch of each, NaN where unknown."""
    first: Ints
    """First iteration of each interval, −1 where unknown or for other grains."""
    last: Ints
    """Last iteration of each interval, −1 for other grains."""
    attempt: Ints
    """Attempt of each."""
    bound: Floats
    """Largest possible error of each: 0 except for recovered means."""
    averaged: Bools
    """Which of them are means, over the interval, the epoch or the steps since the one before."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def finite(self) -> Floats:
        """The finite values."""
        finite: Floats = self.values[np.isfinite(self.values)]
        return finite

    def tail(self, share: float = 1 / 3, least: int = 3) -> Floats:
        """Finite values of the last part of the run; enough of them to mean something."""
        finite = self.finite
        return finite[-max(least, round(len(finite) * share)) :]

    @property
    def kept(self) -> Bools:
        """Which values the run goes on from: no later attempt took their steps back."""
        again = np.full(len(self), np.iinfo(np.int64).max)
        for later in np.unique(self.attempt)[1:]:
            first = np.min(self.step[self.attempt == later])
            again[self.attempt < later] = np.minimum(again[self.attempt < later], first)
        kept: Bools = self.step < again
        return kept

    def take(self, rows: Ints, grain: Grain | None = None) -> Series:
        """The values at some places."""
        return Series(
            self.name,
            grain or self.grain,
            self.values[rows],
            self.step[rows],
            self.epoch[rows],
            self.first[rows],
            self.last[rows],
            self.attempt[rows],
            self.bound[rows],
            self.averaged[rows],
        )

    def place(self, index: int) -> str:
        """Where a value stands, in words."""
        epoch = self.epoch[index]
        if self.grain == "epoch" and np.isfinite(epoch):
            return f"epoch {epoch:g}"
        if self.grain == "interval":
            first, last = int(self.first[index]), int(self.last[index])
            span = f"iterations {first}–{last}" if 0 <= first < last else f"iteration {last}"
            return f"epoch {int(epoch)}, {span}"
        return f"step {int(self.step[index])}"

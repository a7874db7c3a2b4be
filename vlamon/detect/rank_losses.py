"""Finds a rank whose loss rises away from the others': its replica is no longer theirs.

Ranks have different batches and may have different data, so a rank is compared with its own
distance from the median as it was at first, as a share of the median, and in units of how much that
distance varied. Pure.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

FIRST = 40
"""Reports of a rank that say how far from the median it usually is."""
SMOOTHED = 0.05
"""Weight of a new report in the running mean of that distance."""
APART = 0.2
"""Share of the median that it must be above its usual distance."""
LEAST = 0.1
"""Share of the greatest median so far that the distance is a share of at least: one near zero makes
any distance large."""
SURE = 8.0
"""Standard deviations of the running mean that it must be besides."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A rank's loss beside the others'."""

    loss: float
    """Its running mean."""
    usual: float
    """Median of all ranks now."""
    far: bool
    """Whether it is far above where it used to be."""


@dataclass(slots=True)
class _Distance:
    """A rank's distance from the median."""

    count: int = -1
    first: list[float] = field(default_factory=list)
    mean: float = 0.0
    spread: float = 0.0
    now: float = 0.0


@dataclass(slots=True)
class RankLosses:
    """Distances of all ranks so far."""

    _distances: dict[int, _Distance] = field(default_factory=dict)
    _greatest: float = 0.0

    def compare(self, newest: Mapping[int, tuple[int, float | None]]) -> dict[int, Compared]:
        """Count and loss of each rank's newest report; the ranks that are known well enough."""
        losses = {
            rank: loss
            for rank, (_, loss) in newest.items()
            if loss is not None and math.isfinite(loss)
        }
        if len(losses) < 2:
            return {}
        usual, found = statistics.median(losses.values()), {}
        self._greatest = max(self._greatest, abs(usual))
        scale = max(abs(usual), LEAST * self._greatest)
        if not scale:
            return {}
        for rank, loss in losses.items():
            distance = self._distances.setdefault(rank, _Distance())
            if distance.count != newest[rank][0]:
                distance.count = newest[rank][0]
                _follow(distance, (loss - usual) / scale)
            if len(distance.first) >= FIRST:
                risen = distance.now - distance.mean
                noise = distance.spread * math.sqrt(SMOOTHED / (2 - SMOOTHED))
                far = risen > APART and risen > SURE * noise
                found[rank] = Compared(usual + scale * distance.now, usual, far)
        return found


def _follow(distance: _Distance, value: float) -> None:
    if len(distance.first) < FIRST:
        distance.first.append(value)
        if len(distance.first) == FIRST:
            distance.mean = distance.now = statistics.fmean(distance.first)
            distance.spread = statistics.stdev(distance.first)
        return
    distance.now += SMOOTHED * (value - distance.now)

"""Detects a level that creeps up, too slowly for any rule that looks at single batches.

A divergence that doubles every 200 batches pulls a baseline of 128 along. Means of 16 points do not
forget: the newest is compared with the lowest of the last thousand batches. What speaks so late
also tells since when: the state to return to is one from before the rise began.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from vlamon.detect.running_median import MAD_TO_SIGMA

TINY = 1e-12
"""Values are measured in log space from here up."""
KEPT = 4
"""Means that a new level begins with."""


def log_rise(y: float, level: float, scale: float, linear: bool) -> float:
    """How far a value lies above a level, as a logarithm of their ratio.

    Values that are measured as they are have no ratio near zero: there a level counts as at least
    six standard deviations high.
    """
    if not linear:
        return y - level
    lift = (y - level) / max(abs(level), 6 * scale, TINY)
    return math.log1p(lift) if lift > -0.5 else -math.log(2)


class Drift:
    """The slow rule of one metric."""

    def __init__(self, block: int, history: int, ratio: float, z: float, patience: int) -> None:
        """Means of `block` points (0: no such rule), `history` of them, `patience` alarms running.

        A level `ratio` above the lowest one and `z` standard deviations of a mean higher is a rise.
        """
        self.block = block
        self._rise = math.log(ratio)
        self._z = z
        self._patience = patience
        self._sum, self._count = 0.0, 0
        self._means: deque[float] = deque(maxlen=max(1, history))
        self._ends: deque[int] = deque(maxlen=max(1, history))
        """Batch at which each mean was complete."""
        self._running = 0
        """Means running that lay far above the lowest."""
        self.onset = 0
        """Batch at which the rise began, while one goes on."""

    @property
    def speaks(self) -> bool:
        """Whether a rise goes on."""
        return self._running >= 2

    @property
    def floor(self) -> float:
        """The lowest level that is remembered, the newest means aside; while a rise goes on."""
        return min(self._levels())

    def push(self, y: float, now: int, scale: float, linear: bool) -> bool:
        """The next point, of batch number `now`; whether a rise goes on."""
        if not self.block:
            return False
        self._sum += y
        self._count += 1
        if self._count == self.block:
            self._close(now, scale, linear)
        return self.speaks

    def settle(self) -> None:
        """Take the present level as the usual one: only a further rise is news."""
        self._running = 0
        while len(self._means) > KEPT:
            self._means.popleft()
            self._ends.popleft()

    def _close(self, now: int, scale: float, linear: bool) -> None:
        mean = self._sum / self.block
        self._sum, self._count = 0.0, 0
        self._means.append(mean)
        self._ends.append(now)
        self._running = self._running + 1 if self._rises(mean, scale, linear) else 0
        if self._running > self._patience:
            self.settle()

    def _rises(self, mean: float, scale: float, linear: bool) -> bool:
        means = list(self._means)
        if len(means) < 6:
            return False
        levels = self._levels()
        floor = min(levels)
        if log_rise(mean, floor, scale, linear) <= self._rise:
            return False
        steps = sorted(abs(b - a) for a, b in pairwise(means))
        noise = max(
            MAD_TO_SIGMA * steps[len(steps) // 2] / math.sqrt(2), scale / math.sqrt(self.block)
        )
        if mean - floor <= self._z * noise or mean < means[-2] - noise:
            return False
        # The last level that is as good as the lowest, and of it the first third: measured on 200
        # slow divergences that lies 16 batches before the onset, and seldom 30 behind it.
        last = max(i for i, level in enumerate(levels) if level <= floor + noise / 2)
        self.onset = self._ends[last]
        return True

    def _levels(self) -> list[float]:
        means = list(self._means)
        return [(means[i] + means[i + 1] + means[i + 2]) / 3 for i in range(len(means) - 4)]

    def state_dict(self) -> dict[str, Any]:
        """Everything that goes on from here needs, as plain JSON values."""
        return {
            "slow": [self._sum, self._count, self._running],
            "means": list(self._means),
            "ends": list(self._ends),
            "onset": self.onset,
        }

    def load_state_dict(self, state: Mapping[str, Any], now: int) -> None:
        """Take over what `state_dict` gave; versions without `ends` had a value in every batch."""
        total, count, running = state["slow"]
        self._sum, self._count, self._running = float(total), int(count), int(running)
        self._means.extend(float(mean) for mean in state["means"])
        last = len(self._means)
        ends = [now - self._count - self.block * (last - 1 - i) for i in range(last)]
        self._ends.extend(int(end) for end in state.get("ends", ends))
        self.onset = int(state.get("onset", now))

"""The levels that a branch had before it exploded: what the losses are judged by after a return.

A return puts the detectors back too. At the start of a run they know nothing yet, and would take a
loss that is still exploded for the usual one. The branch that was left does know: nothing on the
same stretch was ever as high.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

from vlamon.detect.spikes import SpikeRules

MEMORY = 4096
"""Calm steps that are remembered."""
LEAST = 4
"""Calm values that a ceiling rests on."""
RISING = 12
"""Steps before an explosion that may belong to it already."""
ELEVATED = 2.0
"""A level this far above the ceiling is no recovery."""


class KnownLevels:
    """The highest calm value of every loss on the stretch that is trained once more."""

    def __init__(self, rules: SpikeRules) -> None:
        self._one, self._pair = rules.one_ratio, rules.pair_ratio
        self._calm: deque[tuple[int, dict[str, float]]] = deque(maxlen=MEMORY)
        self._ceilings: dict[str, float] = {}
        self._above: dict[str, int] = {}
        """Of each loss the last steps, the newest in the lowest bit: whether they were high."""

    def record(self, step: int, values: Mapping[str, float | None]) -> None:
        """A step whose losses are calm."""
        self._calm.append((step, {n: v for n, v in values.items() if v is not None and v > 0}))

    def turn_back(self, to: int, onset: int) -> None:
        """A rollback went back to step `to` from an explosion that began at `onset`."""
        found: dict[str, list[float]] = {}
        for step, values in self._calm:
            if to < step < onset - RISING or (to < step < onset and onset - to <= 2 * RISING):
                for name, value in values.items():
                    found.setdefault(name, []).append(value)
        for name, each in found.items():
            if len(each) >= LEAST:
                self._ceilings[name] = max(each)
        self._above.clear()
        while self._calm and self._calm[-1][0] > to:
            self._calm.pop()

    def forget(self) -> None:
        """The return has proved to be good: the detectors know enough by themselves."""
        self._ceilings.clear()
        self._above.clear()

    def excess(self, name: str, value: float | None) -> float:
        """How far above the level known before the return this is, where that is an explosion.

        0 where it is not; the same ratios as the detectors', for one batch and for two of three.
        """
        ceiling = self._ceilings.get(name)
        if ceiling is None or value is None or not math.isfinite(value):
            return 0.0
        ratio = value / ceiling
        bits = (self._above.get(name, 0) << 1 | (ratio > self._pair)) & 0b111
        self._above[name] = bits
        if ratio > self._one or (bits & 1 and bits.bit_count() >= 2):
            return ratio
        return 0.0

    def elevated(self, levels: Mapping[str, float]) -> tuple[str, float] | None:
        """A loss whose level is far above the one known before the return, and how far."""
        ratios = {
            name: level / self._ceilings[name]
            for name, level in levels.items()
            if name in self._ceilings
        }
        worst = max(ratios, key=lambda name: ratios[name], default="")
        return (worst, ratios[worst]) if worst and ratios[worst] > ELEVATED else None

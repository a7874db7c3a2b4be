"""From where on the next batch would warn or explode: the detector's band as lines in a chart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from vlamon.charts.cells import Guide
from vlamon.charts.numbers import number
from vlamon.detect.spikes import ComponentDetectors, SpikeDetector, SpikeRules

if TYPE_CHECKING:
    from vlamon.store import RunStore

LOOK_BACK = 256
"""Rows that the detector is fed when a chart opens: twice its baseline. Its limits are within 10 %
of a detector's that saw the whole run as often as after 512 rows, which cost the first curve twice
as much time."""
EVERY = 20
"""Rows after which the lines are moved: they would tremble otherwise."""


class Band:
    """The band of one metric, kept up to date row by row; nothing for what is not a loss."""

    def __init__(self, metric: str, rules: SpikeRules | None = None) -> None:
        self.metric = metric
        self._detector = SpikeDetector(rules)
        self._rows = 0
        self._attempts = 0
        self._moved = -EVERY
        self._guides: tuple[Guide, ...] = ()
        self._limits: tuple[float, float, float] | None = None
        """Median, and where a batch warns and explodes, when the lines were moved last."""
        self._watched: bool | None = None

    def guides(self, store: RunStore) -> tuple[Guide, ...]:
        """Return the lines from which on one batch warns and explodes now."""
        if not store.rows or not self._judged(store):
            return ()
        attempts = store.attempts
        if len(attempts) != self._attempts or store.rows < self._rows:
            # After a rollback the values begin again at another level.
            self._detector.reset()
            self._attempts, self._rows = len(attempts), attempts[-1].first_row
            self._moved = -EVERY
            self._limits = None
        if not 0 <= store.rows - self._moved < EVERY:
            self._feed(store)
            self._moved = store.rows
            self._guides = self._lines()
        return self._guides

    def ratio_beyond(self, value: float) -> float | None:
        """Return a value over the median where a batch of that height explodes, None below it."""
        if self._limits is None or not value >= self._limits[2] or not self._limits[0] > 0:
            return None
        return value / self._limits[0]

    def _judged(self, store: RunStore) -> bool:
        if self._watched is None:
            self._watched = ComponentDetectors().watches(self.metric, store.weights_at())
        return self._watched

    def _feed(self, store: RunStore) -> None:
        first = max(self._rows, store.rows - LOOK_BACK)
        if first >= store.rows:
            return
        values = store.values(self.metric, first, store.rows).tolist()
        present = store.present(self.metric, first, store.rows).tolist()
        for value, logged in zip(values, present, strict=True):
            if logged:
                self._detector.observe(value)
        self._rows = store.rows

    def _lines(self) -> tuple[Guide, ...]:
        self._limits = self._detector.band()
        if self._limits is None:
            return ()
        _, warn, explode = self._limits
        return tuple(
            Guide(_rounded(value), role, f"{role} {number(_rounded(value), 3)}", reach=False)
            for value, role in ((explode, "explode"), (warn, "warn"))
            if math.isfinite(value)
        )


def _rounded(value: float) -> float:
    """Return three significant digits: a line that moves by less than it can be seen stays."""
    return float(f"{value:.3g}")

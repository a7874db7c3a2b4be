"""Finds where two runs diverge, and which term diverges first.

Two runs of one recipe log the same numbers until something differs: a seed, a batch, a version of
a kernel. From there on everything differs, so the place that matters is the first one, and the term
that differs first (at the same step: by the most) points at the cause.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlamon.analysis.evidence import Evidence
from vlamon.analysis.series import Floats, Grain, Ints, Series

EXACT = 1e-9
"""Values whose relative difference is below this are the same."""
APART = 0.05
"""A relative difference above this, over a stretch, is more than noise."""
_STRETCH = 16
CLOCKS = frozenset(
    {"time", "data", "samples/sec", "samples_per_second", "tokens_per_second", "updt_s", "data_s"}
    | {"step_time", "step_avg", "train_time", "max_memory"}
)
"""Metrics that differ between any two runs and say nothing about the training."""


@dataclass(frozen=True, slots=True)
class MetricDifference:
    """How one metric of two runs compares."""

    metric: str
    """Which metric."""
    grain: Grain
    """What one value is."""
    compared: int
    """Places that both runs have."""
    first: str | None
    """Where the values differ first, in words; None where they never do."""
    key: int
    """Step (or epoch) of that place, −1 where there is none."""
    left: float
    """Value of the first run there."""
    right: float
    """Value of the second run there."""
    apart: str | None
    """From where on a stretch of values is apart by more than noise; None where none is."""
    apart_key: int
    """Step (or epoch) of that place, −1 where there is none."""
    last_left: float
    """The first run's last common value."""
    last_right: float
    """The second run's."""

    @property
    def differs(self) -> bool:
        """Whether the two ever differ."""
        return self.first is not None

    @property
    def change(self) -> float:
        """Relative difference at the first place."""
        return float(_relative(np.array([self.left]), np.array([self.right]))[0])


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side."""

    differences: tuple[MetricDifference, ...]
    """Common metrics: those that diverge, the earliest first, then those that never do."""
    only_left: tuple[str, ...]
    """Metrics that only the first run has."""
    only_right: tuple[str, ...]
    """Metrics that only the second run has."""
    weights: tuple[tuple[str, float | None, float | None], ...] = ()
    """Terms whose weights differ, with both."""

    @property
    def comparable(self) -> bool:
        """Whether there is anything but clocks that both runs have at a common place."""
        return any(difference.metric not in CLOCKS for difference in self.differences)

    @property
    def same(self) -> bool:
        """Whether what both have never differs; nothing in common is not the same."""
        return self.comparable and self.first is None

    @property
    def first(self) -> MetricDifference | None:
        """The term that diverges first; a loss goes before a watched metric of the same step."""
        parted = (p for p in self.differences if p.differs and p.metric not in CLOCKS)
        return next(parted, None)


def compare(left: Evidence, right: Evidence, tolerance: float = EXACT) -> Comparison:
    """Align two runs by step, or by epoch where that is all they share."""
    common = [name for name in left.names if name in right.names]
    found = [p for name in common if (p := _difference(name, left, right, tolerance)) is not None]
    terms = {**left.weights, **right.weights}

    def order(difference: MetricDifference) -> tuple[bool, bool, int, bool, float]:
        # At the same step what enters the total names the cause; after that, the largest change.
        return (
            difference.metric in CLOCKS,
            not difference.differs,
            difference.key,
            difference.metric not in terms,
            -difference.change,
        )

    found.sort(key=order)
    return Comparison(
        differences=tuple(found),
        only_left=tuple(name for name in left.names if name not in right.names),
        only_right=tuple(name for name in right.names if name not in left.names),
        weights=tuple(
            (name, left.weights.get(name), right.weights.get(name))
            for name in terms
            if left.weights.get(name) != right.weights.get(name)
        ),
    )


def _difference(
    name: str, left: Evidence, right: Evidence, tolerance: float
) -> MetricDifference | None:
    pair = _pair(name, left, right)
    if pair is None:
        return None
    one, other = pair
    keys, rows, columns = _aligned(one, other)
    if not len(keys):
        return None
    a, b = one.values[rows], other.values[columns]
    relative = _relative(a, b)
    # Two recovered means may be the same number as long as their bounds meet.
    doubt = one.bound[rows] + other.bound[columns]
    with np.errstate(invalid="ignore"):
        differ = np.flatnonzero((relative > tolerance) & ~(np.abs(a - b) <= doubt))
    first = int(differ[0]) if len(differ) else None
    far = _apart(relative)
    return MetricDifference(
        metric=name,
        grain=one.grain,
        compared=len(keys),
        first=None if first is None else one.place(int(rows[first])),
        key=-1 if first is None else int(keys[first]),
        left=math.nan if first is None else float(a[first]),
        right=math.nan if first is None else float(b[first]),
        apart=None if far is None else one.place(int(rows[far])),
        apart_key=-1 if far is None else int(keys[far]),
        last_left=float(a[-1]),
        last_right=float(b[-1]),
    )


def _pair(name: str, left: Evidence, right: Evidence) -> tuple[Series, Series] | None:
    """The finest series of the same grain that both runs have."""
    for one, other in (
        (left.fine.get(name), right.fine.get(name)),
        (left.lines.get(name), right.lines.get(name)),
        (left.reduced.get(name), right.reduced.get(name)),
        (left.by_epoch(name), right.by_epoch(name)),
    ):
        if one is not None and other is not None and one.grain == other.grain:
            return one, other
    return None


def _aligned(one: Series, other: Series) -> tuple[Ints, Ints, Ints]:
    """Common keys, and the row of each in both; a step that came twice counts as it was last."""
    keys, rows = _newest(one)
    others, columns = _newest(other)
    common, at, there = np.intersect1d(keys, others, assume_unique=True, return_indices=True)
    return common, rows[at], columns[there]


def _newest(series: Series) -> tuple[Ints, Ints]:
    axis = np.round(series.epoch) if series.grain == "epoch" else series.step
    back = np.nan_to_num(axis, nan=-1).astype(np.int64)[::-1]
    keys, index = np.unique(back, return_index=True)
    return keys, len(back) - 1 - index


def _relative(a: Floats, b: Floats) -> Floats:
    """Relative difference; 0 where both are the same NaN or infinity, inf where one alone is."""
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.maximum(np.abs(a), np.abs(b))
        relative = np.abs(a - b) / np.where(size > 0, size, 1.0)
    relative = np.where(np.isfinite(a) & np.isfinite(b), relative, math.inf)
    found: Floats = np.where(same, 0.0, relative)
    return found


def _apart(relative: Floats) -> int | None:
    """First row of a stretch whose median difference is more than noise."""
    if not len(relative):
        return None
    size = min(_STRETCH, len(relative))
    windows = np.lib.stride_tricks.sliding_window_view(relative, size)
    far = np.flatnonzero(np.median(windows, axis=1) > APART)
    if not len(far):
        return None
    # Within the stretch, its first value that is apart.
    start = int(far[0])
    inside: Sequence[int] = np.flatnonzero(relative[start : start + size] > APART).tolist()
    return start + inside[0]

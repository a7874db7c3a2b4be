"""Judges whether a loss has converged: |Δ| < 0.01 over 3 to 5 epochs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from vlamon.analysis.series import Series

TOLERANCE = 0.01
"""A change between two epochs below this is none, for a loss of the size of closs."""
RELATIVE = 0.02
"""For a small loss a change must be below this share of its value."""
LEAST = 3
"""Consecutive changes below the tolerance that a converged loss has."""
MOST = 5
"""Changes looked at."""
PIECES = 12
"""Equal pieces that a run without epochs is cut into."""


@dataclass(frozen=True, slots=True)
class Convergence:
    """Whether one metric has converged, and its last changes."""

    metric: str
    """Which metric."""
    converged: bool
    """At least LEAST changes in a row, up to the last, below the tolerance."""
    changes: tuple[float, ...]
    """The last changes from epoch to epoch, newest last, at most MOST."""
    quiet: int
    """How many of them, counted from the last one back, are below the tolerance."""
    first: float
    """First epoch's value."""
    last: float
    """Last epoch's value."""
    unit: str
    """What lies between two values: `epoch` or `piece` (a twelfth of the run)."""
    left_out: tuple[str, ...] = ()
    """Epochs that exploded and were left out."""

    @property
    def enough(self) -> bool:
        """Whether there are enough values to judge at all."""
        return len(self.changes) >= LEAST


def convergence(series: Series, exploded: frozenset[float] = frozenset()) -> Convergence:
    """Judge one value an epoch; epochs that exploded are left out."""
    keep = [
        (value, series.place(index))
        for index, value in enumerate(series.values.tolist())
        if np.isfinite(value) and series.epoch[index] not in exploded
    ]
    left_out = tuple(
        series.place(index) for index in range(len(series)) if series.epoch[index] in exploded
    )
    return _judge(series.name, [value for value, _ in keep], "epoch", left_out)


def convergence_of_pieces(series: Series) -> Convergence:
    """The same for a run that knows no epochs: medians of equal pieces."""
    finite = series.finite
    pieces = np.array_split(finite, PIECES) if len(finite) >= 2 * PIECES else [finite]
    values = [float(np.median(piece)) for piece in pieces if len(piece)]
    return _judge(series.name, values, "piece", ())


def _judge(metric: str, values: list[float], unit: str, left_out: tuple[str, ...]) -> Convergence:
    tolerance = min(TOLERANCE, RELATIVE * abs(values[-1])) if values else TOLERANCE
    changes = [after - before for before, after in pairwise(values)][-MOST:]
    quiet = 0
    for change in reversed(changes):
        # A loss that is exactly 0 has a tolerance of 0, and has converged all the same.
        if change != 0 and abs(change) >= tolerance:
            break
        quiet += 1
    return Convergence(
        metric=metric,
        converged=quiet >= LEAST,
        changes=tuple(changes),
        quiet=quiet,
        first=values[0] if values else float("nan"),
        last=values[-1] if values else float("nan"),
        unit=unit,
        left_out=left_out,
    )

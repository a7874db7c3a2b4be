"""Sums up what a run's logs hold, before any judgement: how many rows, from where to where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlamon.analysis.evidence import Evidence
from vlamon.analysis.series import Grain


@dataclass(frozen=True, slots=True)
class Overview:
    """A run in one line: its rows and its main loss."""

    rows: int
    """Rows of the finest kind that the main loss has."""
    grain: Grain
    """What a row is."""
    by_epoch: bool
    """Whether `begin`, `end` and `best_at` are epochs, not steps."""
    begin: float
    """Step or epoch of the earliest row; NaN where the log counts neither."""
    end: float
    """Step or epoch of the furthest row."""
    metric: str
    """The main loss; empty where there is none."""
    first: float
    """Its first finite value; NaN where it has none."""
    last: float
    """Its last finite value."""
    best: float
    """Its least finite value that no rollback took back."""
    best_at: float
    """Step or epoch of that."""


def overview(evidence: Evidence) -> Overview | None:
    """Sum a run up; None where nothing was read."""
    main = evidence.main
    tables = (evidence.fine, evidence.lines, evidence.reduced)
    longest = max((s for table in tables for s in table.values()), key=len, default=None)
    series = evidence.best(main) if main is not None else longest
    if series is None:
        return None
    by_epoch = series.grain != "batch" and bool(np.isfinite(series.epoch).all())
    places = series.epoch if by_epoch else series.step.astype(np.float64)
    finite = np.flatnonzero(np.isfinite(series.values)) if main is not None else np.array([], int)
    kept = finite[series.kept[finite]]
    best = kept[np.argmin(series.values[kept])] if len(kept) else None
    return Overview(
        rows=len(series),
        grain=series.grain,
        by_epoch=by_epoch,
        begin=float(np.min(places, initial=np.inf)),
        end=float(np.max(places, initial=-np.inf)),
        metric=main or "",
        first=float(series.values[finite[0]]) if len(finite) else np.nan,
        last=float(series.values[finite[-1]]) if len(finite) else np.nan,
        best=float(series.values[best]) if best is not None else np.nan,
        best_at=float(places[best]) if best is not None else np.nan,
    )

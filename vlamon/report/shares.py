"""Shares of the weighted total, of values that belong together."""

from __future__ import annotations

import math

from vlamon.analysis.contributions import Contributions, contributions
from vlamon.analysis.evidence import Evidence


def shares_of(evidence: Evidence) -> tuple[Contributions | None, str]:
    """The shares at the end of the run, and where their values stand if not all of them there.

    Where some terms end in an earlier epoch, the last epoch that has all of them is shown; without
    such an epoch, each value is named with its own place.
    """
    values = {
        name: value for name in evidence.weights if (value := evidence.latest(name)) is not None
    }
    if len(values) < 2:
        return None, ""
    weights = {name: weight for name, weight in evidence.weights.items() if name in values}
    places, epochs = {}, set()
    for name in values:
        series = evidence.best(name)
        assert series is not None
        places[name] = series.place(len(series) - 1)
        epochs.add(math.floor(series.epoch[-1]) if math.isfinite(series.epoch[-1]) else None)
    if len(epochs) < 2:
        return contributions(values, weights), ""
    common = _common_epoch(evidence, list(values))
    if common is None:
        apart = ", ".join(f"{name} {place}" for name, place in places.items())
        return contributions(values, weights), apart
    epoch, at_once = common
    return contributions(at_once, weights), f"epoch {epoch:g}"


def _common_epoch(evidence: Evidence, names: list[str]) -> tuple[float, dict[str, float]] | None:
    """The last epoch in which every term has a finite value, with these values."""
    tables = []
    for name in names:
        series = evidence.by_epoch(name)
        if series is None:
            return None
        rows = zip(series.epoch.tolist(), series.values.tolist(), strict=True)
        tables.append({epoch: value for epoch, value in rows if math.isfinite(value)})
    shared = set.intersection(*(set(table) for table in tables))
    if not shared:
        return None
    last = max(shared)
    return last, {name: table[last] for name, table in zip(names, tables, strict=True)}

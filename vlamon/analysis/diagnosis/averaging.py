"""Rules about averages that are not what they seem.

`synchronize_between_processes` adds the meters up across ranks in the order in which each rank met
them. A rank whose first batch had no action (or no image) target has another order, and totals of
different metrics are added up. The batch log of one rank is not touched by that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from vlamon.analysis.anomalies import Anomaly, within
from vlamon.analysis.diagnosis.finding import Finding
from vlamon.analysis.evidence import Evidence
from vlamon.analysis.refuted import disagreements
from vlamon.analysis.series import Series

REFUTED = "epoch-line-disagrees-with-batches"
"""The diagnosis that takes the place of every verdict on the epoch lines."""
_LEVEL_RATIO = 3.0
"""Two levels of a loss are apart by at least this factor."""


def epoch_line_disagrees_with_batches(
    evidence: Evidence, found: Sequence[Anomaly]
) -> list[Finding]:
    """The epoch line says one thing, the batches of the same epoch another."""
    apart = [
        f"{one.metric} {one.line:.4g} ↔ {one.batches:.4g} (epoch {one.epoch:g})"
        for one in disagreements(evidence)
    ]
    impossible = [
        f"{name} {value:.4g} ({series.place(row)})"
        for name, series in evidence.lines.items()
        if name.startswith("acc_")
        for row, value in enumerate(series.values.tolist())
        if value > 1.0 + 1e-6 or value < 0.0
    ]
    if not apart and not impossible:
        return []
    examples = (apart[:3] + impossible[:2])[:4]
    facts = {
        "examples": "; ".join(examples),
        "count": len(apart) + len(impossible),
        "impossible": len(impossible),
    }
    return [Finding(REFUTED, "warn", facts)]


def meter_order_changed(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """The meters of one epoch stand in another order than those of the epoch before."""
    for before, after in pairwise(evidence.orders):
        common = set(before.names) & set(after.names)
        old = [name for name in before.names if name in common]
        new = [name for name in after.names if name in common]
        if old != new:
            place = next(i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b)
            facts = {
                "before": before.where,
                "after": after.where,
                "old": old[place : place + 3],
                "new": new[place : place + 3],
            }
            return [Finding("meter-order-changed", "warn", facts)]
    return []


def alternating_levels(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """A loss alternates between two levels: two things are averaged under one name."""
    findings = []
    for name in ("loss_ct", "closs"):
        series = evidence.lines.get(name)
        levels = None if series is None else _two_levels(series, found)
        if series is not None and levels is not None:
            low, high, jumps, epochs = levels
            facts = {
                "metric": name,
                "low": low,
                "high": high,
                "ratio": high / low,
                "jumps": jumps,
                "epochs": epochs,
            }
            findings.append(Finding("alternating-levels", "warn", facts))
    return findings


def _two_levels(
    series: Series, found: Sequence[Anomaly]
) -> tuple[float, float, int, list[int]] | None:
    spikes = [a for a in found if a.metric == series.name and a.grain == "epoch"]
    keep = np.isfinite(series.values) & ~within(spikes, series.epoch)
    values, epochs = series.values[keep], series.epoch[keep]
    if len(values) < 6 or np.any(values <= 0):
        return None
    logs = np.sort(np.log(values))
    gaps = np.diff(logs)
    # Only a gap that leaves at least a quarter on each side parts two levels.
    quarter = max(1, len(logs) // 4)
    inner = gaps[quarter - 1 : len(gaps) - quarter + 1]
    if not len(inner):
        return None
    cut = quarter - 1 + int(np.argmax(inner))
    if gaps[cut] < math.log(_LEVEL_RATIO):
        return None
    upper = np.log(values) > logs[cut]
    jumps = int(np.count_nonzero(np.diff(upper.astype(np.int8))))
    if jumps < 3:
        return None
    low, high = float(np.median(values[~upper])), float(np.median(values[upper]))
    return low, high, jumps, [int(epoch) for epoch in epochs[upper]]

"""Rules about what broke: explosions, non-finite values, crashes, restarts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vlamon.analysis.anomalies import Anomaly
from vlamon.analysis.diagnosis.finding import Finding
from vlamon.analysis.evidence import Evidence
from vlamon.analysis.series import Series

CRASHED = "crashed"
"""The diagnosis that a headline repeats."""
_STEADY = 1.5
"""A loss that stays below this times its own level is steady."""
_LOOKED_AT = 200
"""Explosions that loss_ct is compared at; a run with more of them is told by the first."""
_SHOWN = 8
"""Places named before the rest is only counted."""


def closs_explosion(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """The main loss left its level."""
    spikes = [a for a in found if a.metric in evidence.mains and a.level == "explode"]
    if not spikes:
        return []
    values = [a.value for a in spikes if math.isfinite(a.value)]
    worst = max(values) if values else spikes[0].value
    usual = [a.usual for a in spikes if math.isfinite(a.usual)]
    ratio = max((a.ratio for a in spikes if math.isfinite(a.ratio)), default=math.nan)
    facts = {
        "metric": spikes[0].metric,
        "where": _listed([f"{a.span}: {a.value:.4g}" for a in spikes]),
        "count": len(spikes),
        "worst": worst,
        "usual": float(np.median(usual)) if usual else math.nan,
        "ratio": ratio,
        # Of a loss below zero no multiple says anything.
        "most": f"{worst:.4g}" if math.isnan(ratio) else f"{ratio:.4g}×",
        "onset": spikes[-1].onset,
    }
    return [Finding("closs-explosion", "error", facts)]


def loss_ct_steady_during_spike(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """closs exploded, loss_ct did not: the action head was not what broke."""
    spikes = [a for a in found if a.metric == "closs" and a.level == "explode"]
    seen = []
    for spike in spikes[:_LOOKED_AT]:
        series = (evidence.lines if spike.grain == "epoch" else evidence.fine).get("loss_ct")
        value = None if series is None else _value_at(series, spike)
        if series is None or value is None or not math.isfinite(value):
            continue
        usual = float(np.median(series.finite))
        if value <= _STEADY * usual:
            seen.append((spike.where, value, usual))
    if not seen:
        return []
    facts = {
        "where": _listed([f"{where}: {value:.3g}" for where, value, _ in seen]),
        "usual": seen[0][2],
    }
    return [Finding("loss-ct-steady-during-spike", "info", facts)]


def non_finite(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """NaN or inf in a loss that is trained. What is only watched may have none: an empty class has
    no score, and beside a loss scale an infinite gradient norm is a step that was skipped."""
    places = []
    for table in (evidence.fine, evidence.lines, evidence.reduced):
        for name, series in table.items():
            if not evidence.is_trained(name):
                continue
            bad = np.flatnonzero(~np.isfinite(series.values))
            if len(bad):
                row = int(bad[0])
                places.append((name, f"{name} {series.values[row]} ({series.place(row)})"))
    unique = dict(reversed(places))
    if not unique:
        return []
    names = [name for name, _ in reversed(places) if name in unique]
    first = [dict(reversed(places))[name] for name in dict.fromkeys(names)]
    facts = {"where": _listed(first), "metrics": list(dict.fromkeys(names))}
    return [Finding("non-finite", "error", facts)]


def crashed(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """The log ends in an error, not in a result. A non-finite loss broke the run itself."""
    end = evidence.end
    if end is None:
        return []
    series = None if evidence.main is None else evidence.best(evidence.main)
    where = series.place(len(series) - 1) if series is not None and len(series) else "the start"
    facts = {"kind": end.kind, "line": end.line, "last": where}
    return [Finding(CRASHED, "error" if end.kind == "nan" else "warn", facts)]


def interleaved_jobs(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """Several jobs write to one log."""
    if not evidence.other_jobs:
        return []
    facts = {"count": len(evidence.other_jobs) + 1, "rows": sum(evidence.other_jobs)}
    return [Finding("interleaved-jobs", "warn", facts)]


def restart(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """The run was started more than once."""
    if not evidence.restarts:
        return []
    facts = {"count": len(evidence.restarts), "where": _listed(list(evidence.restarts))}
    return [Finding("restart", "info", facts)]


def _value_at(series: Series, spike: Anomaly) -> float | None:
    match = series.step == spike.step
    if spike.grain == "epoch":
        match = series.epoch == spike.epoch
    rows = np.flatnonzero(match)
    return float(series.values[rows[-1]]) if len(rows) else None


def _listed(places: list[str]) -> str:
    more = len(places) - _SHOWN
    return "; ".join(places[:_SHOWN]) + (f"; +{more}" if more > 0 else "")

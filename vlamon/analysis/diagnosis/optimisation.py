"""Rules about the optimiser, the logits and the input pipeline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlamon.analysis.anomalies import Anomaly
from vlamon.analysis.diagnosis.finding import Finding
from vlamon.analysis.evidence import Evidence

_ALWAYS = 0.95
_STALL = 0.2
_DRIFT = (0.75, 1.25)
"""Where the mean log-normaliser may go over the second half of a run, as a ratio."""
_RATES = ("lr", "learning_rate")
_NORMS = ("grad_norm", "grdn")
_DATA = ("data", "data_s", "data_time", "dataloading_s")
_WHOLE = ("time", "step_time", "iter_time", "time_per_step")
_UPDATE = ("updt_s", "update_s")


def clip_always_active(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """The gradient norm never falls below the clip: every step has the same length."""
    clip = evidence.clip
    series = next((s for n in _NORMS if (s := evidence.best(n)) is not None), None)
    if clip is None or series is None or len(series.finite) < 4:
        return []
    recent = series.tail(0.5, least=4)
    above = float(np.mean(recent > clip))
    if above < _ALWAYS:
        return []
    facts = {"clip": clip, "median": float(np.median(recent)), "share": f"{above:.0%}"}
    facts["ratio"] = float(np.median(recent)) / clip
    return [Finding("clip-always-active", "warn", facts)]


def constant_lr(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """The learning rate never moved; worth a warning once something exploded."""
    series = next((s for n in _RATES if (s := evidence.best(n)) is not None), None)
    if series is None or len(series.finite) < 3:
        return []
    values = series.finite
    if float(np.ptp(values)) > 1e-3 * float(np.max(np.abs(values))):
        return []
    exploded = any(a.level == "explode" for a in found)
    facts = {"lr": float(values[-1]), "count": len(values)}
    return [Finding("constant-lr", "warn" if exploded else "info", facts)]


def logit_drift(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """√z_loss, the mean log-normaliser, moved over the second half of the run."""
    series = evidence.best("z_loss")
    if series is None or len(series.finite) < 8:
        return []
    values = np.sqrt(np.abs(series.finite))
    half = values[len(values) // 2 :]
    third = max(2, len(half) // 3)
    early, late = float(np.median(half[:third])), float(np.median(half[-third:]))
    if early <= 0 or _DRIFT[0] <= late / early <= _DRIFT[1]:
        return []
    facts = {"early": early, "late": late, "change": f"{late / early - 1:+.0%}"}
    return [Finding("logit-drift", "warn", facts)]


def data_stall(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """The step waits for data."""
    data = next((v for n in _DATA if (v := evidence.latest(n)) is not None), None)
    whole = next((v for n in _WHOLE if (v := evidence.latest(n)) is not None), None)
    update = next((v for n in _UPDATE if (v := evidence.latest(n)) is not None), None)
    if whole is None and update is not None and data is not None:
        whole = update + data
    if data is None or whole is None or whole < 1e-3 or data / whole < _STALL:
        return []
    facts = {"data": data, "step": whole, "share": f"{data / whole:.0%}"}
    return [Finding("data-stall", "warn", facts)]

"""Rules about an energy model trained beside the policy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vlamon.analysis.anomalies import Anomaly
from vlamon.analysis.diagnosis.finding import Finding
from vlamon.analysis.evidence import Evidence
from vlamon.analysis.series import Floats, Ints, Series

_LOSSES = ("energy", "energy_loss", "loss_energy")
_POSITIVE = ("energy_positive", "energy_pos", "e_pos")
_NEGATIVE = ("energy_negative", "energy_neg", "e_neg")
_EQUAL = 0.02
_BATCHES = tuple(2**power for power in range(1, 10))
_LAGS = (1, 2, 3, 4, 5)
_LEAST_ROWS = 40
_CORRELATED = 0.35


def energy_collapse(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """The energies of right and wrong actions are the same: the loss is ln B, a guess."""
    positive, negative = _latest(evidence, _POSITIVE), _latest(evidence, _NEGATIVE)
    loss = _latest(evidence, _LOSSES)
    if loss is None:
        return []
    batch = next((b for b in _BATCHES if abs(loss - math.log(b)) <= 0.01 * math.log(b)), None)
    if positive is not None and negative is not None:
        if abs(positive - negative) > _EQUAL * max(abs(positive), abs(negative)):
            return []
    elif batch is None or not _flat(evidence, loss):
        return []
    facts = {
        "loss": loss,
        "batch": batch if batch is not None else "?",
        "positive": "?" if positive is None else positive,
        "negative": "?" if negative is None else negative,
    }
    return [Finding("energy-collapse", "warn", facts)]


def energy_follows_l1(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """Jumps of the L1 come back in the energy loss a few batches later: its negatives moved."""
    energy = next((s for n in _LOSSES if (s := evidence.fine.get(n)) is not None), None)
    head = evidence.fine.get("loss_ct") or evidence.fine.get("l1_loss")
    if energy is None or head is None:
        return []
    steps, rows, other = np.intersect1d(energy.step, head.step, return_indices=True)
    if len(steps) < _LEAST_ROWS:
        return []
    moves = np.diff(_logs(energy, rows))
    jolts = np.diff(_logs(head, other))
    lagged = {lag: _correlation(np.abs(jolts[:-lag]), np.abs(moves[lag:])) for lag in _LAGS}
    signed = {lag: _correlation(jolts[:-lag], moves[lag:]) for lag in _LAGS}
    lag, strength = max(
        [*lagged.items(), *((k, abs(v)) for k, v in signed.items())], key=lambda item: item[1]
    )
    if strength < max(_CORRELATED, 4 / math.sqrt(len(moves))):
        return []
    facts = {"lag": lag, "correlation": strength, "rows": len(steps)}
    return [Finding("energy-follows-l1", "warn", facts)]


def _flat(evidence: Evidence, loss: float) -> bool:
    """Whether the loss has stayed where it is, rather than passing by."""
    series = next((s for n in _LOSSES if (s := evidence.best(n)) is not None), None)
    return series is not None and bool(np.all(np.abs(series.tail() - loss) <= 0.05 * abs(loss)))


def _latest(evidence: Evidence, names: Sequence[str]) -> float | None:
    return next((v for n in names if (v := evidence.latest(n)) is not None), None)


def _logs(series: Series, rows: Ints) -> Floats:
    values = np.where(np.isfinite(series.values[rows]), series.values[rows], np.nan)
    logs = np.log(np.maximum(np.abs(values), 1e-9))
    filled: Floats = np.where(np.isnan(logs), np.nanmedian(logs), logs)
    return filled


def _correlation(one: Floats, other: Floats) -> float:
    if float(np.std(one)) < 1e-12 or float(np.std(other)) < 1e-12:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])

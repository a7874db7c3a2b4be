"""Rules about the terms of the total."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlamon.analysis.anomalies import Anomaly, neighbour_medians
from vlamon.analysis.diagnosis.finding import Finding
from vlamon.analysis.evidence import Evidence
from vlamon.analysis.main_loss import is_loss
from vlamon.analysis.series import Series
from vlamon.catalogue import entry

_WATCHED = ("l1_loss_action", "train_", "val_", "eval_", "test_", "pull_", "conflict_")
_DILUTED = 0.02
"""Share of batches without a policy row from which on averages of loss_ct mislead."""
_SPREAD = 0.12
"""Relative spread of interval means of loss_ct that a loss without zeros does not reach."""


def term_without_weight(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """Something that is called a loss has no weight: its share of the total is unknown."""
    if not evidence.weights:
        return []
    nameless = [
        name
        for name in evidence.names
        if (is_loss(name) or name == "energy")
        and name not in evidence.weights
        and name not in ("loss", "total_loss", "total")
        and not name.startswith(_WATCHED)
        and not entry(name).copy
    ]
    if not nameless:
        return []
    facts = {"terms": nameless, "example": f"--weight {nameless[0]}=0.1"}
    return [Finding("term-without-weight", "warn", facts)]


def loss_ct_diluted(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """Batches without a policy row log loss_ct as 0, and averages take these zeros for errors."""
    series = evidence.fine.get("loss_ct")
    share = share_without_rows(evidence)
    if series is None or share < _DILUTED:
        return []
    mean = float(np.mean(series.tail()))
    facts = {"share": f"{share:.0%}", "printed": mean, "real": mean / max(1 - share, 0.05)}
    return [Finding("loss-ct-diluted", "warn", facts)]


def share_without_rows(evidence: Evidence) -> float:
    """Share of the batches that logged loss_ct as 0 because they had no policy row."""
    series = evidence.fine.get("loss_ct")
    if series is None or len(series.finite) < 20:
        return 0.0
    if series.grain == "batch":
        return float(np.mean(series.values == 0.0))
    return _share_of_zeros(series)


def _share_of_zeros(series: Series) -> float:
    """Share of zeros among the batches, from how much the interval means of ten scatter.

    With a share p of zeros the mean over n batches has the relative variance p / ((1 − p)·n).
    """
    usual = neighbour_medians(series.values)
    length = np.where(series.first >= 0, series.last - series.first + 1, 0)
    keep = np.isfinite(series.values) & (usual > 0) & (length > 1)
    if np.count_nonzero(keep) < 20:
        return 0.0
    off = series.values[keep] / usual[keep] - 1.0
    # Few distinct values are possible (k zeros of ten), so a MAD would be coarse; the worst tenth
    # is left out instead. The neighbours' median adds about a tenth of noise of its own.
    core = np.sort(off)[len(off) // 20 : len(off) - len(off) // 20]
    spread = float(np.std(core)) / 0.85 / 1.05
    if spread < _SPREAD:
        return 0.0
    scaled = spread**2 * float(np.median(length[keep]))
    return scaled / (1 + scaled)

"""Finds epoch lines that their batches refute: no verdict is drawn from such a mixture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vlamon.analysis.evidence import Evidence
from vlamon.analysis.series import Series

_COMPARED = ("closs", "z_loss", "loss_ct", "loss")
_APART = 0.05
"""Ranks see different batches: an epoch's averages differ by this share at the most by chance."""
_SIGMAS = 6.0
_FEW = 4
"""Rows of an epoch that say nothing of its mean."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An epoch line and the batches of the same epoch that contradict each other."""

    metric: str
    """Which metric."""
    epoch: float
    """Which epoch."""
    line: float
    """What the epoch line says."""
    batches: float
    """The mean of the epoch's batches."""


def disagreements(evidence: Evidence) -> list[Disagreement]:
    """Every epoch line that its batches contradict, by more than ranks differ by chance."""
    return [
        Disagreement(name, epoch, line, batches)
        for name in _COMPARED
        for epoch, line, batches, allowed in _compared(evidence, name)
        if abs(line - batches) > allowed
    ]


def _compared(evidence: Evidence, name: str) -> Iterator[tuple[float, float, float, float]]:
    """Epoch, its line's value, its batches' mean, and how far apart chance may put them."""
    line, reduced = evidence.lines.get(name), evidence.reduced.get(name)
    fine = evidence.fine.get(name)
    if line is None or reduced is None:
        return
    batches = dict(zip(reduced.epoch.tolist(), reduced.values.tolist(), strict=True))
    rows = zip(line.epoch.tolist(), line.values.tolist(), line.attempt.tolist(), strict=True)
    for epoch, value, attempt in rows:
        means = [batches.get(epoch, math.nan), *_other_means(fine, epoch, attempt)]
        means = [mean for mean in means if math.isfinite(mean)]
        if not means or not math.isfinite(value):
            continue
        if _among_few(fine, epoch, value):
            continue
        mine = min(means, key=lambda mean: abs(mean - value))
        spread = _standard_error(fine, epoch)
        yield epoch, value, mine, max(_APART * abs(mine), _SIGMAS * spread, 1e-3)


def _other_means(fine: Series | None, epoch: float, attempt: int) -> Iterator[float]:
    """What a line may hold for an epoch with a rollback or a resume in it, apart from the mean of
    the batches that were kept: the mean of all, or of those of the attempt that ended it."""
    if fine is None:
        return
    here = (np.floor(fine.epoch) == epoch) & np.isfinite(fine.values)
    if len(np.unique(fine.attempt[here])) < 2:
        return
    for counted in (here, here & (fine.attempt == attempt)):
        if counted.any():
            yield float(np.mean(fine.values[counted]))


def _among_few(fine: Series | None, epoch: float, value: float) -> bool:
    """Whether a log that holds some batches of the epoch only may well have missed such a mean."""
    if fine is None or fine.grain != "batch":
        return False
    here = np.flatnonzero((np.floor(fine.epoch) == epoch) & np.isfinite(fine.values))
    if len(here) < _FEW:
        return True
    if int(fine.step[here[-1]]) - int(fine.step[here[0]]) < len(here):
        return False
    seen = fine.values[here]
    return bool(np.min(seen) <= value <= np.max(seen))


def _standard_error(fine: Series | None, epoch: float) -> float:
    if fine is None:
        return 0.0
    values = fine.values[(np.floor(fine.epoch) == epoch) & np.isfinite(fine.values)]
    if len(values) < 3:
        return 0.0
    # From neighbour to neighbour, so that a falling loss does not count as noise.
    noise = np.diff(values)
    return float(1.4826 * np.median(np.abs(noise - np.median(noise))) / math.sqrt(2 * len(values)))

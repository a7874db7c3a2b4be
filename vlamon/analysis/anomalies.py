"""Where a loss left its level: by its neighbours where values are means, by the detector else.

A mean over an interval or an epoch has divided a spike by its length, so 2.5 times the median of
the neighbours is an explosion there. Looking both ways is what a report can do and a live detector
cannot: a spike in the third epoch is as visible as one in the thirtieth.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vlamon.analysis.contributions import contributions
from vlamon.analysis.detector import SpikeDetector
from vlamon.analysis.evidence import Evidence, Series

EXPLOSION_RATIO = 2.5
"""A mean above this times the median of its neighbours exploded."""
NEIGHBOURS = 8
"""Values looked at on each side; a plateau shorter than this cannot be its own neighbourhood."""
MINOR_SHARE = 0.01
"""A term below this share of the weighted total may warn, never explode."""
_LEAST_BEFORE = 3
_NO_DESCENT = 1.5
"""Above the values before it by this much; else it is the steep begin of a training."""
_HIGH_START = 1.5
"""A first value is an explosion only this far above a random guess, in nats over nats."""

Level = Literal["warn", "explode"]


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One stretch in which a metric left its level."""

    metric: str
    """Which metric."""
    where: str
    """Where its worst value stands, in words."""
    value: float
    """The worst value."""
    usual: float
    """The level around it; NaN where there is none."""
    level: Level
    """`explode` or `warn`."""
    grain: str
    """`batch`, `interval` or `epoch`."""
    step: int
    """Step of the worst value."""
    epoch: float
    """Epoch of the worst value, NaN where unknown."""
    first: int
    """First iteration of the worst interval, −1 where unknown."""
    last: int
    """Last iteration of the worst interval, −1 where unknown."""
    length: int
    """Consecutive values that belong to it."""

    @property
    def ratio(self) -> float:
        """Worst value over the level around it."""
        return self.value / self.usual if self.usual > 0 else math.inf


def anomalies(evidence: Evidence) -> list[Anomaly]:
    """All anomalies of the losses and of grad_norm, the main loss first, in order of step."""
    found: list[Anomaly] = []
    for name in _judged(evidence):
        level = _worst_level(evidence, name)
        for series in (evidence.lines.get(name), evidence.fine.get(name)):
            if series is not None:
                found += spikes(series, evidence, level)
    return found


def spikes(series: Series, evidence: Evidence, worst: Level = "explode") -> list[Anomaly]:
    """Anomalies of one series."""
    if not len(series):
        return []
    usual = neighbour_medians(series.values)
    averaged = series.grain != "batch" or _stride(series) > 1
    high = _high_means(series, usual, evidence) if averaged else _high_batches(series)
    if averaged and worst == "explode":
        # A run that jumps and stays up is half of its own neighbourhood: held against what was
        # before, it is seen.
        before = _medians_before(series.values, least=_LEAST_BEFORE)
        with np.errstate(invalid="ignore"):
            jumped = (before > 0) & (series.values >= EXPLOSION_RATIO * before)
        usual = np.where(jumped & ~high, before, usual)
        high |= jumped
    high |= ~np.isfinite(series.values)
    return [_anomaly(series, begin, end, usual, worst) for begin, end in _stretches(high)]


def neighbour_medians(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median of up to NEIGHBOURS values on each side of each value, itself left out."""
    size = len(values)
    padded = np.full(size + 2 * NEIGHBOURS, np.nan)
    padded[NEIGHBOURS : NEIGHBOURS + size] = np.where(np.isfinite(values), values, np.nan)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURS + 1).copy()
    around[:, NEIGHBOURS] = np.nan
    return _row_medians(around)


def _medians_before(values: NDArray[np.float64], least: int = 1) -> NDArray[np.float64]:
    """Median of up to NEIGHBOURS values before each value; NaN where there are fewer than least."""
    size = len(values)
    padded = np.full(size + NEIGHBOURS, np.nan)
    padded[NEIGHBOURS:] = np.where(np.isfinite(values), values, np.nan)
    rows = np.lib.stride_tricks.sliding_window_view(padded, NEIGHBOURS)[:size].copy()
    enough = np.sum(~np.isnan(rows), axis=1) >= least
    medians: NDArray[np.float64] = np.where(enough, _row_medians(rows), np.nan)
    return medians


def _row_medians(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Medians of rows in which NaN means nothing; NaN for a row of nothing."""
    rows.sort(axis=1)  # NaN goes last
    counts = np.sum(~np.isnan(rows), axis=1)
    index = np.arange(len(rows))
    low = rows[index, np.maximum((counts - 1) // 2, 0)]
    high = rows[index, np.maximum(counts // 2, 0).clip(max=rows.shape[1] - 1)]
    medians: NDArray[np.float64] = np.where(counts > 0, (low + high) / 2, np.nan)
    return medians


def _high_means(
    series: Series, usual: NDArray[np.float64], evidence: Evidence
) -> NDArray[np.bool_]:
    before = _medians_before(series.values)
    with np.errstate(invalid="ignore"):
        high: NDArray[np.bool_] = (usual > 0) & (series.values >= EXPLOSION_RATIO * usual)
        high &= np.isnan(before) | (series.values > _NO_DESCENT * before)
        first = np.isnan(before)
        if series.name == "closs":
            high &= ~first | (series.values > _HIGH_START * math.log(evidence.vocab))
        else:
            high &= ~first
    return high


def _high_batches(series: Series) -> NDArray[np.bool_]:
    detector = SpikeDetector()
    high = np.zeros(len(series), bool)
    attempt = int(series.attempt[0])
    for row, value in enumerate(series.values.tolist()):
        if int(series.attempt[row]) != attempt:
            attempt = int(series.attempt[row])
            detector.reset()
        high[row] = detector.observe(value).level == "explode"
    return high


def _anomaly(
    series: Series, begin: int, end: int, usual: NDArray[np.float64], worst: Level
) -> Anomaly:
    values = series.values[begin:end]
    broken = ~np.isfinite(values)
    peak = begin + int(np.argmax(broken) if broken.any() else np.argmax(values))
    level: Level = "explode" if broken.any() else worst
    return Anomaly(
        metric=series.name,
        where=series.place(peak),
        value=float(series.values[peak]),
        usual=float(usual[peak]),
        level=level,
        grain=series.grain,
        step=int(series.step[peak]),
        epoch=float(series.epoch[peak]),
        first=int(series.first[peak]),
        last=int(series.last[peak]),
        length=end - begin,
    )


def _stretches(high: NDArray[np.bool_]) -> Iterable[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], high, [False]]).astype(np.int8)))
    return zip(edges[0::2].tolist(), edges[1::2].tolist(), strict=True)


def _stride(series: Series) -> int:
    steps = np.diff(series.step)
    return int(np.median(steps)) if len(steps) else 1


def _judged(evidence: Evidence) -> list[str]:
    main = evidence.main
    names = [main] if main is not None else []
    names += [name for name in evidence.weights if name not in names and name != "loss_ct"]
    # Zeros of batches without a policy row make the level of loss_ct jump by itself.
    if "loss_ct" in evidence.weights and not _jumpy(evidence, "loss_ct"):
        names.append("loss_ct")
    return [*names, *(n for n in ("grad_norm", "grdn") if evidence.best(n) is not None)]


def _jumpy(evidence: Evidence, name: str) -> bool:
    series = evidence.best(name)
    if series is None or len(series.finite) < 4:
        return True
    usual = neighbour_medians(series.values)
    with np.errstate(invalid="ignore"):
        far = np.abs(series.values - usual) > 0.5 * np.abs(usual)
    return bool(np.mean(far) > 0.2)


def _worst_level(evidence: Evidence, name: str) -> Level:
    if name == evidence.main:
        return "explode"
    if name in evidence.weights:
        values = {term: evidence.latest(term) for term in evidence.weights}
        for term in contributions(values, evidence.weights).terms:
            if term.name == name and (term.share or 0.0) >= MINOR_SHARE:
                return "explode"
    return "warn"

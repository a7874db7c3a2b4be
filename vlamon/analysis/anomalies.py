"""Finds where a loss left its level, and how long it stayed away.

What `tail` sees coming (`judging.py`) is an explosion here too. A report sees both sides besides: a
mean at 2.5 times the median of its neighbours is one in the first epochs, where there is no level
yet, and in a steep fall, where it is out of date. A stretch goes on until the loss is back: a run
that jumps and stays up becomes its own neighbourhood, not a healthy run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vlamon.analysis.contributions import contributions
from vlamon.analysis.evidence import Evidence
from vlamon.analysis.main_loss import has_moving_target, is_reward
from vlamon.analysis.refuted import disagreements
from vlamon.analysis.rounds import rounds
from vlamon.analysis.series import Series
from vlamon.detect.judging import Judge, JudgedValues, Levels, levels
from vlamon.detect.rules import SpikeRules

NEIGHBOURS = 8
"""Values looked at on each side; a plateau shorter than this cannot be its own neighbourhood."""
MINOR_SHARE = 0.01
"""A term below this share of the weighted total may warn, never explode."""
RETURNED = 2.0
"""Below this times the level before it a loss is back, and its explosion over."""
_CALM = 12
"""Single batches in a row that are back end a stretch; one of them may be luck. A mean is none."""
_NO_DESCENT = 1.5
"""Above the values before it by this much; else it is the steep begin of a training."""
_HIGH_START = 1.5
"""A first value is an explosion only this far above a random guess, in nats over nats."""

_RUNAWAY = 100.0
"""Times its level from which on a loss with a moving target may have diverged."""
_NORMS = ("grad_norm", "grdn")

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
    """The level before it began; NaN where there is none."""
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
    onset: str
    """Where it began, in words."""
    onset_step: int
    """Step of its first value."""
    onset_epoch: float
    """Epoch of its first value, NaN where unknown."""
    end_epoch: float
    """Epoch of its last value, NaN where unknown."""
    lasting: bool
    """Whether the run ends in it."""

    @property
    def ratio(self) -> float:
        """Worst value over the level before it; NaN where that is not a positive number."""
        return self.value / self.usual if self.usual > 0 else math.nan

    @property
    def span(self) -> str:
        """Where it stands, in words: its begin and its worst value."""
        return self.where if self.onset == self.where else f"from {self.onset}, worst {self.where}"


def anomalies(evidence: Evidence) -> list[Anomaly]:
    """All anomalies of the losses and of grad_norm, the main loss first, in order of step.

    Epoch lines that their batches refute are mixtures of metrics: they are not judged.
    """
    found: list[Anomaly] = []
    lines = {} if disagreements(evidence) else evidence.lines
    chases = has_moving_target(evidence.names)
    for name in _judged(evidence):
        level = _worst_level(evidence, name)
        for series in (lines.get(name), evidence.fine.get(name)):
            if series is not None and name in _NORMS:
                found += _of_norm(series, evidence)
            elif series is not None:
                of_loss = spikes(series, evidence, level)
                if rounds(series) is not None:
                    of_loss = [replace(one, level="warn") for one in of_loss]
                found += [one for one in of_loss if not chases or _ran_away(one, evidence)]
    return found


def _ran_away(anomaly: Anomaly, evidence: Evidence) -> bool:
    """Whether a loss with a moving target diverged: to the end, far, and for no better reward."""
    if not math.isfinite(anomaly.value):
        return True
    # Around zero, where a policy's loss lives, no multiple says anything.
    if not anomaly.lasting or not anomaly.ratio >= _RUNAWAY:
        return False
    name = next(filter(is_reward, evidence.names), None)
    earned = None if name is None else evidence.best(name)
    if earned is None:
        return True
    before, after = (
        earned.values[np.isfinite(earned.values) & side]
        for side in (earned.step < anomaly.onset_step, earned.step >= anomaly.onset_step)
    )
    return not len(before) or not len(after) or float(np.median(after)) <= float(np.median(before))


def _of_norm(series: Series, evidence: Evidence) -> list[Anomaly]:
    """Spikes of a gradient norm warn; beside a loss scale an infinite one is a skipped step."""
    if evidence.scales_loss:
        series = series.take(np.flatnonzero(np.isfinite(series.values)))
    return [replace(one, level="warn") for one in spikes(series, evidence, "warn")]


def within(found: Sequence[Anomaly], epochs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of these epochs have a part in one of these anomalies."""
    spans = np.array([(a.onset_epoch, a.end_epoch) for a in found], np.float64).reshape(-1, 2)
    finer = np.array([a.grain != "epoch" for a in found], bool)
    spans[finer] = np.floor(spans[finer])
    spans = spans[np.isfinite(spans).all(axis=1)]
    places = np.unique(epochs)
    open_here = np.zeros(len(places) + 1, np.int64)
    np.add.at(open_here, np.searchsorted(places, spans[:, 0], "left"), 1)
    np.add.at(open_here, np.searchsorted(places, spans[:, 1], "right"), -1)
    inside: NDArray[np.bool_] = np.cumsum(open_here)[np.searchsorted(places, epochs)] > 0
    return inside


def spikes(series: Series, evidence: Evidence, worst: Level) -> list[Anomaly]:
    """Anomalies of one series, each attempt with a level of its own."""
    turns = np.flatnonzero(np.diff(series.attempt)) + 1
    edges = [0, *turns.tolist(), len(series)]
    guess = math.log(evidence.vocab) if series.name == "closs" else math.inf
    return [
        _anomaly(series, first + begin, first + end, usual, worst)
        for first, last in pairwise(edges)
        for begin, end, usual in _stretches(
            series, first, last, guess, worst, evidence.settings.rules
        )
    ]


def neighbour_medians(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median of up to NEIGHBOURS values on each side of each value, itself left out."""
    return levels(_neighbours(values)).level


def _neighbours(values: NDArray[np.float64]) -> NDArray[np.float64]:
    size = len(values)
    padded = np.full(size + 2 * NEIGHBOURS, np.nan)
    padded[NEIGHBOURS : NEIGHBOURS + size] = np.where(np.isfinite(values), values, np.nan)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURS + 1).copy()
    around[:, NEIGHBOURS] = np.nan
    return around


def _stretches(
    series: Series, first: int, last: int, guess: float, worst: Level, rules: SpikeRules
) -> Iterator[tuple[int, int, float]]:
    """Begin, end and level before each stretch of an attempt, whose rows are given."""
    values = series.values[first:last]
    if not len(values):
        return
    steps = series.step[first:last] if series.grain == "batch" else None
    judged = Judge(rules).observe(values, steps, series.averaged[first:last])
    around = levels(_neighbours(values)) if judged.means.any() else judged.before
    among = _among_neighbours(values, judged, around, guess, rules.mean_ratio)
    # A minor term that rises for good is none of this report's business, only its spikes are.
    ahead = judged.high & ~judged.means if worst == "warn" else judged.high
    high = ahead | among | ~np.isfinite(values)
    known = ahead & np.isfinite(judged.before.level)
    held = Levels(
        np.where(known, judged.before.level, around.level),
        np.where(known, judged.before.reach, around.reach),
    )
    back = held.times(RETURNED)
    row = 0
    for onset in np.flatnonzero(high).tolist():
        if onset >= row:
            calm = 1 if judged.means[onset] else _CALM
            row = _end(values, high, onset, float(back[onset]), calm)
            yield onset, row, float(held.level[onset])


def _end(
    values: NDArray[np.float64], high: NDArray[np.bool_], onset: int, back: float, calm: int
) -> int:
    """Behind the last value that belongs to a stretch."""
    last = row = onset
    while row + 1 < len(values) and row - last < calm:
        row += 1
        if high[row] or values[row] >= back:
            last = row
    return last + 1


def _among_neighbours(
    values: NDArray[np.float64], judged: JudgedValues, around: Levels, guess: float, ratio: float
) -> NDArray[np.bool_]:
    """Which means stand out from those on both sides and do not come down from higher ones."""
    before = judged.before
    with np.errstate(invalid="ignore"):
        high = judged.means & (values >= around.times(ratio))
        first = np.isnan(before.level)
        fresh = values > before.times(_NO_DESCENT)
        # A first value has only its height to tell: far above a guess, and the next one is not.
        settled = np.append(values[1:] < around.times(_NO_DESCENT)[:-1], False)
        fresh |= first & (values > _HIGH_START * guess) & settled
    found: NDArray[np.bool_] = high & fresh
    return found


def _anomaly(series: Series, begin: int, end: int, usual: float, worst: Level) -> Anomaly:
    values = series.values[begin:end]
    broken = ~np.isfinite(values)
    peak = begin + int(np.argmax(broken) if broken.any() else np.argmax(values))
    return Anomaly(
        metric=series.name,
        where=series.place(peak),
        value=float(series.values[peak]),
        usual=usual,
        level="explode" if broken.any() else worst,
        grain=series.grain,
        step=int(series.step[peak]),
        epoch=float(series.epoch[peak]),
        first=int(series.first[peak]),
        last=int(series.last[peak]),
        length=end - begin,
        onset=series.place(begin),
        onset_step=int(series.step[begin]),
        onset_epoch=float(series.epoch[begin]),
        end_epoch=float(series.epoch[end - 1]),
        lasting=end == len(series),
    )


def _judged(evidence: Evidence) -> list[str]:
    names = list(evidence.mains)
    names += [name for name in evidence.weights if name not in names and name != "loss_ct"]
    # Zeros of batches without a policy row make the level of loss_ct jump by itself.
    if "loss_ct" in evidence.weights and not _jumpy(evidence, "loss_ct"):
        names.append("loss_ct")
    return [*names, *(n for n in _NORMS if evidence.best(n) is not None)]


def _jumpy(evidence: Evidence, name: str) -> bool:
    series = evidence.best(name)
    if series is None or len(series.finite) < 4:
        return True
    usual = neighbour_medians(series.values)
    with np.errstate(invalid="ignore"):
        far = np.abs(series.values - usual) > 0.5 * np.abs(usual)
    return bool(np.mean(far) > 0.2)


def _worst_level(evidence: Evidence, name: str) -> Level:
    if name in evidence.mains:
        return "explode"
    if name in evidence.weights:
        values = {term: evidence.latest(term) for term in evidence.weights}
        for term in contributions(values, evidence.weights).terms:
            if term.name == name and (term.share or 0.0) >= MINOR_SHARE:
                return "explode"
    return "warn"

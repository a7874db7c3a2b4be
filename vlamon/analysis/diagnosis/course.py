"""Rules about the course of a run: a loss that never falls, rises again, or spikes often."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vlamon.analysis.anomalies import Anomaly
from vlamon.analysis.diagnosis.finding import Finding
from vlamon.analysis.evidence import Evidence
from vlamon.analysis.main_loss import has_moving_target
from vlamon.analysis.refuted import disagreements
from vlamon.analysis.rounds import rounds
from vlamon.analysis.series import Floats, Series

_PIECES = 12
"""A run is compared by the medians of so many equal pieces."""
_LEAST = 5
"""Values in a piece; a shorter run, and one of epochs with fewer values, is not told a course."""
_RISE = 0.15
"""A loss that ends this far above its lowest piece has risen."""
_FALL = 0.02
"""A loss that fell by less than this share of its first piece never fell."""
_BOTTOMLESS = 1000.0
"""Times its first size, and at least so much below zero, at which a loss has no lower bound."""
_RATES = ("lr", "learning_rate", "learning-rate")
_WARM = 0.9
"""Share of its greatest value at which a learning rate is warm."""
_NOISE = 4.0
"""Standard errors of a piece's median that a rise must exceed."""
_SINGLES = 4
"""Spikes of one value each from which on they recur."""
_SINGLE = 2
"""Values that a spike of one sample may cover."""


def loss_rises(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """The main loss fell and has been rising since, too slowly to be an explosion."""
    series = _main(evidence)
    pieces = None if series is None else pieces_of(series)
    if series is None or pieces is None or _exploded(found, series.name):
        return []
    levels, errors = pieces
    lowest = int(np.argmin(levels))
    rise = float(levels[-1] - levels[lowest])
    noise = _NOISE * math.hypot(float(errors[-1]), float(errors[lowest]))
    # The last two pieces both stand above: one alone may be hard data.
    stays = lowest < _PIECES - 2 and levels[-2] - levels[lowest] > rise / 2
    if not stays or rise < max(_RISE * abs(float(levels[lowest])), noise):
        return []
    facts = {
        "metric": series.name,
        "lowest": float(levels[lowest]),
        "where": series.place(_middle(len(series), lowest)),
        "last": float(levels[-1]),
        "rise": _percent(rise, float(levels[lowest])),
    }
    return [Finding("loss-rises", "warn", facts)]


def never_fell(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """The main loss stands where it began, though it has room to fall; one that rises is not it."""
    series = _main(evidence)
    pieces = None if series is None else pieces_of(series)
    # A run that was resumed begins where it had come to.
    resumed = series is not None and int(series.step[0]) > len(series)
    early = resumed or _warms_up(evidence)
    if series is None or pieces is None or early or _exploded(found, series.name):
        return []
    if loss_rises(evidence, found):
        return []
    levels, _ = pieces
    first = float(np.median(series.finite[:_LEAST]))
    fallen = first - float(np.min(levels))
    if fallen >= _FALL * abs(first) or math.isclose(first, 0.0):
        return []
    facts = {"metric": series.name, "first": first, "last": float(levels[-1]), "count": len(series)}
    return [Finding("never-fell", "warn", facts)]


def falls_without_end(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """The main loss runs towards minus infinity: nothing holds it from below."""
    series = _main(evidence)
    if series is None or len(series.finite) < _PIECES * _LEAST:
        return []
    first = float(np.median(np.abs(series.finite[:_LEAST])))
    last = float(np.median(series.finite[-_LEAST:]))
    if last > -_BOTTOMLESS * max(first, 1.0):
        return []
    facts = {"metric": series.name, "first": float(series.finite[0]), "last": last}
    return [Finding("falls-without-end", "warn", facts)]


def recurring_single_spikes(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """Single values spike again and again, the loss is back at once: samples, not weights."""
    singles = [
        one
        for one in found
        if one.metric in evidence.mains and one.grain == "batch" and one.length <= _SINGLE
        # A non-finite value says nothing of its sample.
        if math.isfinite(one.value)
    ]
    if len(singles) < _SINGLES:
        return []
    steps = np.array([one.step for one in singles])
    facts: dict[str, object] = {
        "metric": singles[0].metric,
        "count": len(singles),
        "steps": steps[:8].tolist(),
        "gap": float(np.median(np.diff(steps))),
    }
    return [Finding("recurring-single-spikes", "warn", facts)]


def trained_in_rounds(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """The main loss goes back to where it began at even intervals."""
    series = None if evidence.main is None else evidence.best(evidence.main)
    seen = None if series is None else rounds(series)
    if series is None or seen is None:
        return []
    steps = series.step[list(seen.starts)]
    facts: dict[str, object] = {
        "metric": series.name,
        "count": len(seen.starts),
        "steps": steps[:8].tolist(),
        "gap": float(np.median(np.diff(steps))),
    }
    return [Finding("trained-in-rounds", "warn", facts)]


def _warms_up(evidence: Evidence) -> bool:
    """Whether the learning rate rose through most of the run: so far nothing had to fall."""
    name = next((n for n in evidence.names if n.rpartition("/")[2] in _RATES), None)
    series = None if name is None else evidence.best(name)
    if series is None or not len(series.finite) or series.finite[0] >= np.max(series.finite) / 2:
        return False
    reached = int(np.argmax(series.finite >= _WARM * np.max(series.finite)))
    return reached >= len(series.finite) / 2


def _main(evidence: Evidence) -> Series | None:
    """The series of the main loss; an epoch line only where no batches refute it. A loss whose
    target moves takes no course of its own."""
    if evidence.main is None or has_moving_target(evidence.names):
        return None
    series = evidence.best(evidence.main)
    refuted = series is not None and series is evidence.lines.get(series.name)
    return None if refuted and disagreements(evidence) else series


def pieces_of(series: Series) -> tuple[Floats, Floats] | None:
    """The median of each piece, and its standard error."""
    values = series.finite
    if len(values) < _PIECES * _LEAST or len(np.unique(series.attempt)) > 1:
        return None
    parts = np.array_split(values, _PIECES)
    levels = np.array([np.median(part) for part in parts])
    spread = [np.median(np.abs(np.diff(part))) / math.sqrt(len(part)) for part in parts]
    return levels, np.array(spread) * 1.5


def _exploded(found: Sequence[Anomaly], name: str) -> bool:
    return any(one.metric == name and one.level == "explode" and one.lasting for one in found)


def _middle(size: int, piece: int) -> int:
    return (2 * piece + 1) * size // (2 * _PIECES)


def _percent(change: float, of: float) -> str:
    return f"{change / abs(of):+.0%}" if of else f"{change:+.3g}"

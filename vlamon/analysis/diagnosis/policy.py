"""Rules about a policy that is trained by reinforcement: its entropy and its distance."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from vlamon.analysis.anomalies import Anomaly
from vlamon.analysis.diagnosis.course import pieces_of
from vlamon.analysis.diagnosis.finding import Finding
from vlamon.analysis.evidence import Evidence
from vlamon.analysis.main_loss import has_moving_target, is_reward
from vlamon.analysis.series import Series

_LEAST = 20
"""Values before which nothing is said."""
_COLLAPSED = 0.1
"""An entropy below this share of its first level has collapsed."""
_EXPLODED = 3.0
"""An entropy above this times its first level has exploded."""
_KL_EXPLODED = 10.0
"""A divergence above this times its usual level has exploded."""
_KL_LEAST = 0.1
"""A divergence below this is small whatever its multiple."""
_LOST = 0.5
"""Share of a learned reward that a policy must lose to be told."""
_NOISE = 4.0
"""Standard errors that a change of the reward must exceed."""
_SETTINGS = re.compile(r"coef|weight|loss|bonus|target|penalty|ctrl|beta|scale")


def entropy_collapse(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """The policy has become nearly deterministic: it no longer explores."""
    return [
        _entropy("entropy-collapse", series, first, last)
        for series in _named(evidence, "entropy")
        for first, last in [_ends(series)]
        # A differential entropy may be negative; a share of it says nothing then.
        if first > 0 and 0 <= last < _COLLAPSED * first
    ]


def entropy_explosion(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """The policy drifts towards noise."""
    return [
        _entropy("entropy-explosion", series, first, last)
        for series in _named(evidence, "entropy")
        for first, last in [_ends(series)]
        if first > 0 and last > _EXPLODED * first
    ]


def kl_explosion(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """The policy ran away from the one that it is held against."""
    findings = []
    for series in _named(evidence, "kl"):
        usual = float(np.median(np.abs(series.finite)))
        _, last = _ends(series)
        if last > max(_KL_LEAST, _KL_EXPLODED * usual):
            facts = {"metric": series.name, "usual": usual, "last": last}
            findings.append(Finding("kl-explosion", "warn", facts))
    return findings


def reward_falls(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """The policy has lost most of what it had learned to earn."""
    name = next(filter(is_reward, evidence.names), None)
    series = None if name is None else evidence.best(name)
    pieces = None if series is None else pieces_of(series)
    if series is None or pieces is None or not has_moving_target(evidence.names):
        return []
    levels, errors = pieces
    best = int(np.argmax(levels))
    last = float(np.median(levels[-2:]))
    learned = float(levels[best] - levels[0])
    lost = float(levels[best]) - last
    noise = _NOISE * float(np.hypot(errors[best], errors[-1]))
    if best >= len(levels) - 2 or lost < max(_LOST * learned, noise) or learned <= noise:
        return []
    facts = {"metric": series.name, "best": float(levels[best]), "last": last}
    return [Finding("reward-falls", "warn", facts)]


def _entropy(id: str, series: Series, first: float, last: float) -> Finding:
    return Finding(id, "warn", {"metric": series.name, "first": first, "last": last})


def _named(evidence: Evidence, word: str) -> Iterator[Series]:
    """Series whose name holds the word and is neither a loss nor a setting."""
    for name in evidence.names:
        words = re.split(r"[^a-z0-9]+", name.lower())
        series = evidence.best(name) if word in words else None
        if series is None or _SETTINGS.search(name.lower()):
            continue
        if len(series.finite) >= _LEAST:
            yield series


def _ends(series: Series) -> tuple[float, float]:
    """The level at the begin and at the end."""
    size = max(5, len(series.finite) // 20)
    return float(np.median(series.finite[:size])), float(np.median(series.finite[-size:]))

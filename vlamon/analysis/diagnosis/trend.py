"""Rules about where a run is going."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlamon.analysis.anomalies import Anomaly, within
from vlamon.analysis.convergence import (
    LEAST,
    PIECES,
    Convergence,
    convergence,
    convergence_of_pieces,
)
from vlamon.analysis.diagnosis.finding import Finding
from vlamon.analysis.evidence import Evidence
from vlamon.analysis.series import Series

_RISE = 0.02
"""A validation loss this far above its best is rising."""


def judged(evidence: Evidence, found: Sequence[Anomaly], name: str) -> Convergence | None:
    """Convergence of one metric by epoch, or by pieces of a run that knows no epochs.

    None, too, of a metric that is exploded or no number at its end: nothing can be said of where
    it would have gone, least of all that it converged.
    """
    by_epoch, fine = evidence.by_epoch(name), evidence.fine.get(name)
    lines = by_epoch is not None and evidence.lines.get(name) is by_epoch
    # Where batches were averaged, epoch lines are not what is judged: they can be mixed.
    of_it = [a for a in found if a.metric == name and (lines or a.grain != "epoch")]
    if any(a.lasting for a in of_it):
        return None
    if by_epoch is not None and len(by_epoch) > 1:
        own = [a for a in of_it if (a.grain == "epoch") == lines]
        exploded = frozenset(by_epoch.epoch[within(own, by_epoch.epoch)].tolist())
        return convergence(by_epoch, exploded) if np.isfinite(by_epoch.values[-1]) else None
    if fine is not None and len(fine.finite) >= 2 * PIECES and np.isfinite(fine.values[-1]):
        return convergence_of_pieces(fine)
    return None


def converged(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """The main loss has converged."""
    state = None if evidence.main is None else judged(evidence, found, evidence.main)
    if state is None or not state.converged:
        return []
    return [Finding("converged", "info", _facts(state))]


def not_converged(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """The main loss still moves, or swings."""
    state = None if evidence.main is None else judged(evidence, found, evidence.main)
    if state is None or not state.enough or state.converged:
        return []
    return [Finding("not-converged", "info", _facts(state))]


def overfitting(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """Training falls, validation rises."""
    findings = []
    for split, metrics in evidence.evaluations.items():
        name = next((n for n in (evidence.main, "closs", "loss") if n and n in metrics), None)
        training = None if name is None else _training(evidence, name)
        if name is None or training is None:
            continue
        held_out = metrics[name]
        values = held_out.finite
        if len(values) < 4:
            continue
        best = int(np.argmin(values))
        rise = float(values[-1] / values[best] - 1) if values[best] > 0 else 0.0
        since = len(values) - 1 - best
        recent = training.finite[-max(2, round(len(training.finite) * (since + 1) / len(values))) :]
        falls = float(np.median(recent[-2:])) < float(np.median(recent[:2]))
        if since >= 2 and rise > _RISE and falls and bool(np.all(np.diff(values[best:]) > -1e-9)):
            facts = {
                "split": split,
                "best": float(values[best]),
                "where": held_out.place(best),
                "last": float(values[-1]),
                "rise": f"{rise:+.0%}",
                "train_first": float(recent[0]),
                "train_last": float(recent[-1]),
            }
            findings.append(Finding("overfitting", "warn", facts))
    return findings


def _training(evidence: Evidence, name: str) -> Series | None:
    found = evidence.by_epoch(name) or evidence.best(name)
    if found is None and evidence.main is not None:
        found = evidence.by_epoch(evidence.main) or evidence.best(evidence.main)
    return found


def _facts(state: Convergence) -> dict[str, object]:
    return {
        "metric": state.metric,
        "changes": ", ".join(f"{change:+.4f}" for change in state.changes),
        "quiet": state.quiet,
        "need": LEAST,
        "first": state.first,
        "last": state.last,
        "unit": state.unit,
        "left_out": list(state.left_out),
    }

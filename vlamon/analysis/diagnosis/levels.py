"""Rules about where a loss stands: against a random guess, against what else the run measures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vlamon.analysis.anomalies import Anomaly
from vlamon.analysis.diagnosis.finding import Finding
from vlamon.analysis.diagnosis.weights import share_without_rows
from vlamon.analysis.evidence import Evidence
from vlamon.analysis.series import Floats, Series
from vlamon.catalogue import NO_ACTION_YET

_NEAR = 0.03
"""closs within this share of ln(vocab) is a guess."""
_MOST = 1.05
"""A decoded L1 above this is no answer without action tokens either."""
_BETWEEN = 0.9
_PATHS_APART = 4.0
_TREND = 0.1


def near_random_guess(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """closs is what a model that knows nothing scores."""
    guess, closs = _guess(evidence), evidence.latest("closs")
    if closs is None or abs(closs - guess) > _NEAR * guess:
        return []
    return [Finding("near-random-guess", "warn", _against(evidence, closs, guess))]


def above_random_guess(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """closs is worse than a guess: the model is sure of what is wrong."""
    guess, closs = _guess(evidence), evidence.latest("closs")
    if closs is None or closs <= (1 + _NEAR) * guess:
        return []
    return [Finding("above-random-guess", "warn", _against(evidence, closs, guess))]


def not_emitting_action_tokens(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """The decoded L1 is that of a model that answers with no action token at all."""
    values = {name: evidence.latest(name) for name in _decoded(evidence)}
    silent = {n: v for n, v in values.items() if v is not None and _BETWEEN <= v <= _MOST}
    known = [value for value in values.values() if value is not None]
    if not silent or float(np.median(known)) < NO_ACTION_YET:
        return []
    series = _series(evidence, next(iter(silent)))
    facts = {
        "values": ", ".join(f"{name} {value:.3g}" for name, value in silent.items()),
        "mean": float(np.mean(list(silent.values()))),
        "where": series.place(len(series) - 1) if series is not None else "",
    }
    return [Finding("not-emitting-action-tokens", "warn", facts)]


def two_paths_diverge(evidence: Evidence, found: Sequence[Anomaly]) -> list[Finding]:
    """The action head's error and the decoded tokens' error tell different stories."""
    head = _series(evidence, "loss_ct")
    slots = [s for name in _decoded(evidence) if (s := _series(evidence, name)) is not None]
    slots = [slot for slot in slots if len(slot.finite)]  # a slot of no action is always NaN
    if head is None or not slots or len(head.finite) < 2:
        return []
    size = min(len(slot.finite) for slot in slots)
    decoded = np.mean([slot.finite[-size:] for slot in slots], axis=0)
    if size < 2:
        return []
    # The zeros of batches without actions stand in loss_ct, not in the decoded L1.
    with_actions = 1 - share_without_rows(evidence)
    now = float(np.median(_last(decoded)))
    head_now = float(np.median(_last(head.finite))) / max(with_actions, 0.05)
    moved, head_moved = _change(decoded), _change(head.finite)
    # Both trends need some length; a level apart is enough once the tokens are action tokens.
    opposed = size >= 4 and moved * head_moved < 0 and min(abs(moved), abs(head_moved)) > _TREND
    apart = head_now > 0 and now / head_now >= _PATHS_APART and now < _BETWEEN
    if not opposed and not apart:
        return []
    facts = {
        "decoded": now,
        "head": head_now,
        "decoded_change": f"{moved:+.0%}",
        "head_change": f"{head_moved:+.0%}",
        "ratio": now / head_now if head_now else math.inf,
    }
    return [Finding("two-paths-diverge", "warn", facts)]


def _guess(evidence: Evidence) -> float:
    return math.log(evidence.vocab)


def _against(evidence: Evidence, closs: float, guess: float) -> dict[str, object]:
    return {"closs": closs, "guess": guess, "vocab": evidence.vocab, "gap": closs - guess}


def _decoded(evidence: Evidence) -> list[str]:
    return [name for name in evidence.names if name.startswith("l1_loss_action")]


def _series(evidence: Evidence, name: str) -> Series | None:
    """The series whose values can be trusted: the batch log's before a mixed epoch line."""
    return evidence.by_epoch(name) or evidence.best(name)


def _last(values: Floats) -> Floats:
    return values[-max(1, len(values) // 3) :]


def _change(values: Floats) -> float:
    """Relative change from the middle third to the last third."""
    third = max(1, len(values) // 3)
    middle = float(np.median(values[-2 * third : -third]))
    last = float(np.median(values[-third:]))
    return last / middle - 1.0 if middle else 0.0

"""Decides whether enough was read to judge a run: a report without a loss must not say healthy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vlamon.analysis.evidence import Evidence
from vlamon.analysis.main_loss import has_moving_target

FEW = 8
"""Fewer loss values than this among lines that are mostly unknown are no basis for a verdict."""
_MOSTLY = 2.5
"""Lines with a loss that were not understood, for each that was: a row's terms take a line or two
of their own in some logs."""
_NAMED = 6

Reason = Literal[
    "nothing-read",
    "no-loss",
    "no-value",
    "one-value",
    "no-change",
    "few-values",
    "mostly-unknown",
]


@dataclass(frozen=True, slots=True)
class Unjudged:
    """Why a run is not judged."""

    reason: Reason
    """`nothing-read`, `no-loss` (other metrics were read), `no-value` (a loss without any
    number), `one-value` (a begin without a course), `no-change` (a setting's value, or one that is
    not trained), `few-values` (among unknown lines), or `mostly-unknown` (of the lines with a
    loss)."""
    metrics: tuple[str, ...]
    """The first metrics that were read."""
    values: int
    """Values of the main loss that were read."""
    unknown: int
    """Lines that were not understood; of `mostly-unknown`, those that speak of a loss."""


def unjudged(
    evidence: Evidence, unknown: int = 0, losses: int = 0, stray: int = 0
) -> Unjudged | None:
    """Say why no verdict is possible; None where one is.

    `unknown` lines were not understood, `losses` of them speak of a loss, and `stray` of them are
    in logs whose format is a guess.
    """
    values = 0 if evidence.main is None else _values(evidence, evidence.main)
    reason: Reason
    if not evidence.names:
        reason = "nothing-read"
    elif evidence.main is None:
        reason = "no-loss"
    elif not values:
        reason = "no-value"
    elif _never_changes(evidence, evidence.main):
        reason = "no-change"
    elif losses > _MOSTLY * values:
        return Unjudged("mostly-unknown", evidence.names[:_NAMED], values, losses)
    elif values < FEW and stray > values:
        reason = "few-values"
    elif values == 1:
        reason = "one-value"
    else:
        return None
    return Unjudged(reason, evidence.names[:_NAMED], values, unknown)


def _values(evidence: Evidence, name: str) -> int:
    tables = (evidence.fine, evidence.lines)
    return sum(len(table[name]) for table in tables if name in table)


def _never_changes(evidence: Evidence, name: str) -> bool:
    """Whether many rows hold one value: a setting that was printed again and again."""
    series = evidence.best(name)
    if series is None or len(series) < FEW or has_moving_target(evidence.names):
        return False  # a policy's loss is printed as 0.0 until its samples are used again
    return len(np.unique(series.values)) == 1

"""Whether enough was read of a run to judge it: a report that saw no loss must not say healthy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vlamon.analysis.evidence import Evidence

FEW = 8
"""Fewer loss values than this among lines that are mostly unknown are no basis for a verdict."""
_NAMED = 6

Reason = Literal["nothing-read", "no-loss", "no-value", "mostly-unknown"]


@dataclass(frozen=True, slots=True)
class Unjudged:
    """Why a run is not judged."""

    reason: Reason
    """`nothing-read`, `no-loss` (other metrics were read), `no-value` (a loss without any
    number), or `mostly-unknown`."""
    metrics: tuple[str, ...]
    """The first metrics that were read."""
    values: int
    """Values of the main loss that were read."""
    unknown: int
    """Lines that were not understood."""


def unjudged(evidence: Evidence, unknown: int = 0, losses: int = 0) -> Unjudged | None:
    """Say why no verdict is possible; None where one is.

    `unknown` lines were not understood, and `losses` of them speak of a loss.
    """
    values = 0 if evidence.main is None else _values(evidence, evidence.main)
    reason: Reason
    if not evidence.names:
        reason = "nothing-read"
    elif evidence.main is None:
        reason = "no-loss"
    elif not values:
        reason = "no-value"
    elif losses > values or (values < FEW and unknown > values):
        reason = "mostly-unknown"
    else:
        return None
    return Unjudged(reason, evidence.names[:_NAMED], values, unknown)


def _values(evidence: Evidence, name: str) -> int:
    tables = (evidence.fine, evidence.lines)
    return sum(len(table[name]) for table in tables if name in table)

"""What a loss term is: the one declaration that computes, logs, weights and shows it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from torch import Tensor

from trainer.model.batch import Batch
from trainer.model.vla import Outputs

Schedule = tuple[tuple[int, float], ...]
"""(step, weight) points; straight lines between two of them, level outside."""


@dataclass(frozen=True, slots=True)
class Term:
    """One loss: a file in `trainer/objectives/terms` that defines `TERM` is all it takes."""

    name: str
    """Name as logged, such as `loss_ct`; `set <name>_weight` changes its weight."""
    loss: Callable[[Outputs], Tensor | None]
    """The unweighted loss of a batch; None where the batch has nothing for it (never a zero)."""
    weight: float | Schedule
    """Weight in the total, or its schedule; at 0 the term is not computed and not logged."""
    kind: Literal["trained", "watched"] = "trained"
    """`trained` terms enter the total; `watched` ones are computed and logged only."""
    order: int = 100
    """Place in the logs and in the total's sum."""
    prepare: Callable[[Batch, int], Batch] | None = None
    """What the term has to do to a batch (on the host) before the forward, given the step."""


def weight_at(weight: float | Schedule, step: int) -> float:
    """A stated weight at a step."""
    if isinstance(weight, float | int):
        return float(weight)
    if step <= weight[0][0]:
        return weight[0][1]
    for (start, low), (end, high) in pairwise(weight):
        if step < end:
            return low + (high - low) * (step - start) / (end - start)
    return weight[-1][1]


def parse_weight(value: object) -> float | Schedule:
    """A weight as a person writes it: `5`, or a schedule `0:10,2000:1`; ValueError says why not."""
    text = str(value).strip()
    if ":" not in text:
        return _weight(text)
    points = []
    for part in text.split(","):
        step, _, weight = part.partition(":")
        points.append((int(step), _weight(weight)))
    if any(late <= early for (early, _), (late, _) in pairwise(points)):
        raise ValueError(f"the steps of {text!r} must rise")
    return tuple(points)


def _weight(text: str) -> float:
    weight = float(text)
    if not math.isfinite(weight) or weight < 0:
        raise ValueError(f"{text!r} is not a finite number of at least 0")
    return weight

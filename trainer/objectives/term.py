"""What a loss term is: the one declaration that computes, logs, weights and shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from trainer.model.vla import Outputs

Schedule = tuple[tuple[int, float], ...]
"""(step, weight) points; between two of them the weight is interpolated."""


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
    """`trained` terms enter the total."""
    order: int = 100
    """Place in the logs and in the total's sum."""

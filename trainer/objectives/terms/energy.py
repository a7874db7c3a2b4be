"""`energy`: the energy model's loss, as a term with a weight like any other.

Under every coupling but `entangled` the energy model is trained by its own optimizer on detached
states (`trainer.objectives.energy_task`), which reads its weight here; then there is nothing to add
to the policy's total, and the loss is absent from it.
"""

from __future__ import annotations

from torch import Tensor

from trainer.model.vla import Outputs
from trainer.objectives.term import Term


def energy(outputs: Outputs) -> Tensor | None:
    """The loss on attached hidden states; None where no coupling attached it."""
    return outputs.energy


TERM = Term("energy", energy, weight=0.0, order=20)

"""`loss_ct_mse`: mean squared error of the ActionHead, for runs that punish large misses."""

from __future__ import annotations

from torch import Tensor

from trainer.model.vla import Outputs
from trainer.objectives.action_error import action_error
from trainer.objectives.term import Term


def loss_ct_mse(outputs: Outputs) -> Tensor | None:
    """Mean over actions and dimensions; None for a batch without a labelled action."""
    return action_error(outputs, lambda error: error.square())


TERM = Term("loss_ct_mse", loss_ct_mse, weight=0.0, order=3)

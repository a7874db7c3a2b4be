"""`loss_ct_smooth`: smooth L1 of the ActionHead, square below β and linear above."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.model.vla import Outputs
from trainer.objectives.action_error import action_error
from trainer.objectives.term import Term

BETA = 0.1
"""Where square turns into linear; errors of a trained head lie on both sides of it."""


def loss_ct_smooth(outputs: Outputs) -> Tensor | None:
    """Mean over actions and dimensions; None for a batch without a labelled action."""
    return action_error(outputs, _smooth)


def _smooth(error: Tensor) -> Tensor:
    size = error.abs()
    return torch.where(size < BETA, size.square() / (2 * BETA), size - BETA / 2)


TERM = Term("loss_ct_smooth", loss_ct_smooth, weight=0.0, order=4)

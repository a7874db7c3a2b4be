"""`loss_ct`: mean absolute error of the ActionHead against the decoded label bins."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.model.vla import Outputs
from trainer.objectives.action_error import action_error
from trainer.objectives.term import Term


def loss_ct(outputs: Outputs) -> Tensor | None:
    """Already a mean over the 7 dimensions; None for a batch without a labelled action."""
    return action_error(outputs, torch.abs)


TERM = Term("loss_ct", loss_ct, weight=10.0, order=1)

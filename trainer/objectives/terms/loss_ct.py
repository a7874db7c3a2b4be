"""`loss_ct`: mean absolute error of the ActionHead against the decoded label bins."""

from __future__ import annotations

from torch import Tensor

from trainer.model.vla import Outputs
from trainer.objectives.term import Term


def loss_ct(outputs: Outputs) -> Tensor | None:
    """Already a mean over the 7 dimensions; None for a batch without a labelled action."""
    if outputs.actions is None:
        return None
    layout = outputs.batch.layout
    shown = min(outputs.actions.shape[1], layout.actions.shape[1])
    valid = layout.action_valid[:, :shown]
    error = (outputs.actions[:, :shown].float() - layout.actions[:, :shown]).abs()
    return (error * valid).sum() / valid.sum().clamp(min=1)


TERM = Term("loss_ct", loss_ct, weight=10.0, order=1)

"""`closs`: cross-entropy of the next token at label-valid positions, image codes weighted."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.model.tokens import is_image_code
from trainer.model.vla import Outputs
from trainer.objectives.term import Term


def closs(outputs: Outputs) -> Tensor | None:
    """Weighted mean, divided by the summed weights; None where nothing is labelled."""
    tokens = outputs.tokens
    if not len(tokens.targets):
        return None
    weight = torch.where(is_image_code(tokens.targets), outputs.image_weight, 1.0)
    return (weight * (tokens.logsumexp - tokens.target_logit)).sum() / weight.sum()


TERM = Term("closs", closs, weight=1.0, order=0)

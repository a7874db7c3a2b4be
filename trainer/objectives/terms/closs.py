"""`closs`: cross-entropy of the next token at label-valid positions, image codes weighted."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.model.vla import Outputs
from trainer.objectives.term import Term


def token_weight(outputs: Outputs) -> Tensor:
    """Weight of each labelled position: 1, but the image weight for ids that count as images."""
    targets, (first, end) = outputs.tokens.targets, outputs.image_weight_ids
    return torch.where((targets >= first) & (targets < end), outputs.image_weight, 1.0)


def closs(outputs: Outputs) -> Tensor | None:
    """Weighted mean, divided by the summed weights; None where nothing is labelled."""
    tokens = outputs.tokens
    if not len(tokens.targets):
        return None
    weight = token_weight(outputs)
    return (weight * (tokens.logsumexp - tokens.target_logit)).sum() / weight.sum()


TERM = Term("closs", closs, weight=1.0, order=0)

"""`z_loss`: keeps the log-normaliser of the logits small."""

from __future__ import annotations

from torch import Tensor

from trainer.model.vla import Outputs
from trainer.objectives.term import Term


def z_loss(outputs: Outputs) -> Tensor | None:
    """Mean of logsumexp(logits)² over label-valid positions."""
    if not len(outputs.tokens.targets):
        return None
    return outputs.tokens.logsumexp.square().mean()


TERM = Term("z_loss", z_loss, weight=1e-5, order=2)

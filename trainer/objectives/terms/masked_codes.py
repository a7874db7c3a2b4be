"""`masked_codes`: cross-entropy of the image codes that were hidden from the prompt."""

from __future__ import annotations

from torch import Tensor

from trainer.model.vla import Outputs
from trainer.objectives.masking import mask_images
from trainer.objectives.term import Term


def masked_codes(outputs: Outputs) -> Tensor | None:
    """Mean over the masked positions; each guesses its own code, not the next one."""
    if outputs.masked is None:
        return None
    return (outputs.masked.logsumexp - outputs.masked.target_logit).mean()


TERM = Term("masked_codes", masked_codes, weight=0.0, order=11, prepare=mask_images)

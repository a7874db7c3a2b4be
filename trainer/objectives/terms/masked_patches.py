"""`masked_patches`: squared error of the pixels expected where image codes were hidden."""

from __future__ import annotations

from torch import Tensor

from trainer.model.vla import Outputs
from trainer.objectives.masking import mask_images
from trainer.objectives.term import Term


def masked_patches(outputs: Outputs) -> Tensor | None:
    """Mean over positions and pixels; None without masks or without a codebook to decode with."""
    if outputs.patches is None or outputs.true_patches is None:
        return None
    return (outputs.patches - outputs.true_patches).square().mean()


TERM = Term("masked_patches", masked_patches, weight=0.0, order=12, prepare=mask_images)

"""Hides image codes of the prompt, for the losses of masked reconstruction."""

from __future__ import annotations

from dataclasses import replace

import torch

from trainer.model import tokens
from trainer.model.batch import Batch, Masked

SHARE = 0.15
"""Share of the prompt's image codes that is hidden."""


def mask_images(batch: Batch, step: int) -> Batch:
    """The batch with some image codes replaced by MASK; a batch that has masks stays as it is.

    Only codes that are not trained as next tokens are hidden. Which ones depends on the step and
    the samples alone, so a resumed or replayed step hides the same.
    """
    if batch.masked is not None:
        return batch
    names = [step, *batch.sample_ids]
    seed = hash(tuple(names)) & 0x7FFF_FFFF_FFFF_FFFF  # hashes of integers are the same every run
    draw = torch.rand(batch.input_ids.shape, generator=torch.Generator().manual_seed(seed))
    ids = batch.input_ids
    free = tokens.is_image_code(ids) & (batch.labels == tokens.IGNORE)
    hidden = free & (draw < SHARE).to(ids.device)
    at = hidden.flatten().nonzero().flatten()
    return replace(
        batch,
        input_ids=torch.where(hidden, tokens.MASK, ids),
        masked=Masked(at=at, codes=ids.flatten()[at]),
    )

"""`alignment`: InfoNCE between instruction and image of the policy rows.

The image side is the mean token embedding of its codes, not their hidden states: image positions
come after the instruction and have seen it, so a loss on their states would match them through the
leak. Rows with the very same instruction are positives of each other, not negatives.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.model.tokens import IGNORE, PAD, TEXT_FIRST, is_image_code
from trainer.model.vla import Outputs
from trainer.objectives.term import Term

TEMPERATURE = 0.1


def alignment(outputs: Outputs) -> Tensor | None:
    """Symmetric InfoNCE over the policy rows; None for fewer than two."""
    batch, layout = outputs.batch, outputs.batch.layout
    if len(layout.policy_rows) < 2:
        return None
    ids = batch.input_ids[layout.policy_rows]
    prompt = batch.labels[layout.policy_rows] == IGNORE
    is_text, is_image = (ids >= TEXT_FIRST) & prompt, is_image_code(ids) & prompt
    text = _mean(outputs.hidden[layout.policy_rows], is_text)
    image = _mean(outputs.decoded.embedded[layout.policy_rows], is_image)
    similarity = F.normalize(text, dim=-1) @ F.normalize(image, dim=-1).t() / TEMPERATURE
    words = torch.where(is_text, ids, PAD)
    same = (words.unsqueeze(0) == words.unsqueeze(1)).all(-1).float()
    wanted = same / same.sum(-1, keepdim=True)
    from_text = -(wanted * similarity.log_softmax(-1)).sum(-1).mean()
    from_image = -(wanted * similarity.t().log_softmax(-1)).sum(-1).mean()
    return (from_text + from_image) / 2


def _mean(states: Tensor, chosen: Tensor) -> Tensor:
    weight = chosen.unsqueeze(-1).to(torch.float32)
    return (states.float() * weight).sum(1) / weight.sum(1).clamp(min=1)


TERM = Term("alignment", alignment, weight=0.0, order=10)

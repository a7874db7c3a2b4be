"""Watched metrics: what the argmax tokens would do, per action and per image, teacher-forced.

A metric that the batch has nothing for is absent, never zero: zeros would be averaged in.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.model.layout import SLOTS
from trainer.model.tokens import decode_action_ids, is_action_bin
from trainer.model.vla import Outputs


@torch.no_grad()
def watched_metrics(outputs: Outputs) -> dict[str, Tensor]:
    """`l1_loss_action_X`, `acc_action_X`, `acc_image_X` by right-aligned slot, and
    `action_outside`, the share of predictions at action bins that are no action bin."""
    layout = outputs.batch.layout
    if not len(layout.block_size):
        return {}
    guess, target = outputs.tokens.argmax, outputs.tokens.targets
    inside = layout.block >= 0
    block = layout.block.clamp(min=0)
    error = (decode_action_ids(guess) - decode_action_ids(target)).abs()
    accuracy = _mean_by_block((guess == target).float() * inside, block, layout.block_size)
    l1 = _mean_by_block(error * inside, block, layout.block_size)

    metrics: dict[str, Tensor] = {}
    of_actions, of_images = layout.block_is_action, ~layout.block_is_action
    if layout.slots_of_actions:
        acc_of_slot = _mean_by_slot(accuracy, layout.block_slot, of_actions)
        l1_of_slot = _mean_by_slot(l1, layout.block_slot, of_actions)
        for slot in layout.slots_of_actions:
            metrics[f"acc_action_{slot}"] = acc_of_slot[slot]
        for slot in layout.slots_of_actions:
            metrics[f"l1_loss_action_{slot}"] = l1_of_slot[slot]
        at_bins = inside & of_actions[block]
        metrics["action_outside"] = (~is_action_bin(guess) & at_bins).sum() / at_bins.sum()
    if layout.slots_of_images:
        acc_of_slot = _mean_by_slot(accuracy, layout.block_slot, of_images)
        for slot in layout.slots_of_images:
            metrics[f"acc_image_{slot}"] = acc_of_slot[slot]
    return metrics


def _mean_by_block(values: Tensor, block: Tensor, size: Tensor) -> Tensor:
    return torch.zeros(len(size), device=values.device).index_add_(0, block, values) / size


def _mean_by_slot(values: Tensor, slot: Tensor, chosen: Tensor) -> Tensor:
    zeros = torch.zeros(SLOTS, device=values.device)
    return zeros.index_add(0, slot, values * chosen) / zeros.index_add(0, slot, chosen.float())

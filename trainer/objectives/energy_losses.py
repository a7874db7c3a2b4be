"""The losses of the energy models, on detached hidden states."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.evaluation_mode import evaluating

TEMPERATURE = 0.5
MARGIN = 1.0
MARGIN_BY_DISTANCE = 0.6
POSITIVE_LEVEL, POSITIVE_WEIGHT = 1.0, 0.02
"""Where the reference's hinge holds E⁺, and how firmly."""


@dataclass(frozen=True, slots=True)
class EnergyInputs:
    """What the energy model is trained on; everything detached."""

    states: Tensor
    """[P, L, D] hidden states of the prefixes."""
    lengths: Tensor
    """[P] length of each prefix."""
    actions: Tensor
    """[P, H, 7] the true chunk A*."""
    valid: Tensor
    """[P, H] which of its steps exist."""
    negatives: Tensor | None = None
    """[P, N, H, 7] layer actions A⁻; None for in-batch swaps."""


@dataclass(frozen=True, slots=True)
class EnergyLoss:
    """A loss and the two energies that it pulls apart."""

    loss: Tensor
    """What is differentiated."""
    positive: Tensor
    """E⁺, mean over the true pairs, detached."""
    negative: Tensor
    """E⁻, mean over the negatives, detached."""
    accuracy: Tensor
    """Share of the negatives whose energy lies above that of their own true pair."""


def swap_infonce(model: nn.Module, inputs: EnergyInputs) -> EnergyLoss | None:
    """CE(−E/0.5, diagonal) over every state with every chunk of the batch; None for one row.

    Collapse shows as ln B with E⁺ ≈ E⁻, B being the local batch.
    """
    rows = len(inputs.actions)
    if rows < 2:
        return None
    every = inputs.actions.unsqueeze(0).expand(rows, -1, -1, -1)
    valid = inputs.valid.unsqueeze(0).expand(rows, -1, -1)
    energy = model(inputs.states, inputs.lengths, every, valid)
    own = torch.arange(rows, device=energy.device)
    loss = F.cross_entropy(-energy / TEMPERATURE, own)
    energy = energy.detach()
    positive = energy.diagonal()
    pairs = rows * (rows - 1)
    others = (energy.sum() - positive.sum()) / pairs
    accuracy = (energy > positive.unsqueeze(1)).sum() / pairs
    return EnergyLoss(loss, positive.mean(), others, accuracy)


def layer_hinge(model: nn.Module, inputs: EnergyInputs) -> EnergyLoss | None:
    """relu(1 + 0.6‖A⁻ − A*‖ + E⁺ − E⁻), mean over rows and layers.

    ‖·‖ is the Euclidean norm over the 7 dimensions, averaged over the steps of the chunk.
    """
    if inputs.negatives is None or not len(inputs.negatives):
        return None
    candidates = torch.cat((inputs.actions.unsqueeze(1), inputs.negatives), dim=1)
    valid = inputs.valid.unsqueeze(1).expand(-1, candidates.shape[1], -1)
    energy = model(inputs.states, inputs.lengths, candidates, valid)
    positive, negative = energy[:, :1], energy[:, 1:]
    apart = (inputs.negatives - inputs.actions.unsqueeze(1)).norm(dim=-1)
    steps = valid[:, 1:]
    distance = (apart * steps).sum(-1) / steps.sum(-1).clamp(min=1)
    loss = F.relu(MARGIN + MARGIN_BY_DISTANCE * distance + positive - negative).mean()
    return _compared(loss, positive, negative)


def reference_hinge(model: nn.Module, inputs: EnergyInputs) -> EnergyLoss | None:
    """relu(1 + 0.6‖A⁻ − A*‖ + E⁺ − E⁻) + 0.02·(E⁺ − 1)² as in the found code.

    ‖·‖ is the Euclidean norm over the whole chunk, E⁺ is detached inside the hinge and trained by
    the last term alone, and E⁻ comes from the model in evaluation mode (no dropout).
    """
    if inputs.negatives is None or not len(inputs.negatives):
        return None
    valid = inputs.valid.unsqueeze(1)
    positive = model(inputs.states, inputs.lengths, inputs.actions.unsqueeze(1), valid)
    with evaluating(model):
        others = valid.expand(-1, inputs.negatives.shape[1], -1)
        negative = model(inputs.states, inputs.lengths, inputs.negatives, others)
    apart = (inputs.negatives - inputs.actions.unsqueeze(1)) * others.unsqueeze(-1)
    margin = MARGIN + MARGIN_BY_DISTANCE * apart.flatten(2).norm(dim=-1)
    hinge = F.relu(margin + positive.detach() - negative).mean()
    held = (positive - POSITIVE_LEVEL).square().mean()
    return _compared(hinge + POSITIVE_WEIGHT * held, positive, negative)


def _compared(loss: Tensor, positive: Tensor, negative: Tensor) -> EnergyLoss:
    positive, negative = positive.detach(), negative.detach()
    return EnergyLoss(loss, positive.mean(), negative.mean(), (negative > positive).float().mean())

"""The energy model: how well an action chunk fits a state, low for a good fit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.model.tokens import ACTION_DIMS


@dataclass(frozen=True, kw_only=True, slots=True)
class EnergyConfig:
    """Widths of the energy model."""

    width: int = 512
    """Width of the state and action MLPs and of the attention between them."""
    heads: int = 8
    """Attention heads."""


class EnergyModel(nn.Module):
    """E(state, action): each step of a chunk queries the states for an energy; E is the mean.

    An energy lies in (0.1, 2.1).
    """

    def __init__(self, hidden: int, config: EnergyConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.state_mlp = _mlp(hidden, width)
        self.action_mlp = _mlp(ACTION_DIMS, width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.step_head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, states: Tensor, lengths: Tensor, actions: Tensor, valid: Tensor) -> Tensor:
        """Energies [P, K] of K candidate chunks a row.

        `states` [P, L, hidden] with `lengths` [P]; `actions` [P, K, H, 7]; `valid` [P, K, H] tells
        which steps of a candidate exist.
        """
        rows, candidates, horizon, _ = actions.shape
        key, value = self._split(self.key_value(self.state_mlp(states))).chunk(2, dim=-1)
        encoded = self.action_mlp(actions.flatten(1, 2))
        query = self._split(self.query(encoded))
        inside = torch.arange(states.shape[1], device=states.device) < lengths.unsqueeze(1)
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=inside[:, None, None, :]
        )
        mixed = self.out(mixed.transpose(1, 2).flatten(2)) + encoded
        per_step = self.step_head(mixed).view(rows, candidates, horizon)
        energy = 2.0 * torch.sigmoid(0.5 * per_step) + 0.1
        mean: Tensor = (energy * valid).sum(-1) / valid.sum(-1).clamp(min=1)
        return mean

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)


def _mlp(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width))

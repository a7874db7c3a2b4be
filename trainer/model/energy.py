"""The energy models: how well an action chunk fits a state, low for a good fit.

`ReferenceEnergyModel` is the one of the found code, `SimpleEnergyModel` a smaller one. Both are
called as `model(states, lengths, actions, valid)` and return the energies [P, K] of K candidate
chunks a row, each the mean over the steps of its chunk and in (0.1, 2.1): `states` [P, L, hidden]
with `lengths` [P]; `actions` [P, K, H, 7]; `valid` [P, K, H] tells which steps of a candidate
exist.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.model.mlp_resnet import MLPResNet
from trainer.model.tokens import ACTION_DIMS


@dataclass(frozen=True, kw_only=True, slots=True)
class EnergyConfig:
    """Widths of an energy model."""

    width: int = 512
    """Width of the state and action MLPs and of the attention between them."""
    heads: int = 8
    """Attention heads."""
    dropout: float = 0.2
    """Dropout after the reference's positional encoding."""


class ReferenceEnergyModel(nn.Module):
    """The found code's: residual MLPs, positional encodings over the chunk, cross-attention.

    Without the encodings E would not know the order of the steps. 2.94 M parameters on hidden
    states of 64, 5.01 M on 4096.
    """

    def __init__(self, hidden: int, config: EnergyConfig) -> None:
        super().__init__()
        width = config.width
        self.cross = nn.MultiheadAttention(width, config.heads, batch_first=True)
        self.state_linear = MLPResNet(hidden, width, width, 1, nn.SiLU)
        self.action_linear = MLPResNet(ACTION_DIMS, width, width, 1, nn.SiLU)
        self.prediction_head = MLPResNet(width, width, 1, 2, nn.SiLU)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states: Tensor, lengths: Tensor, actions: Tensor, valid: Tensor) -> Tensor:
        rows, candidates, horizon, _ = actions.shape
        encoded = self.action_linear(actions)
        encoded = self.dropout(encoded + positional_encoding(horizon, encoded.shape[-1], encoded))
        context = self.state_linear(states)
        padding = torch.arange(states.shape[1], device=states.device) >= lengths.unsqueeze(1)
        mixed, _ = self.cross(
            encoded.flatten(1, 2), context, context, key_padding_mask=padding, need_weights=False
        )
        return _mean_energy(self.prediction_head(mixed).view(rows, candidates, horizon), valid)


class SimpleEnergyModel(nn.Module):
    """One hidden layer each for states and actions, and a residual around the attention.

    It has no positional encoding, so it does not know the order of a chunk's steps.
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
        rows, candidates, horizon, _ = actions.shape
        key, value = self._split(self.key_value(self.state_mlp(states))).chunk(2, dim=-1)
        encoded = self.action_mlp(actions.flatten(1, 2))
        query = self._split(self.query(encoded))
        inside = torch.arange(states.shape[1], device=states.device) < lengths.unsqueeze(1)
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=inside[:, None, None, :]
        )
        mixed = self.out(mixed.transpose(1, 2).flatten(2)) + encoded
        return _mean_energy(self.step_head(mixed).view(rows, candidates, horizon), valid)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)


def positional_encoding(steps: int, width: int, like: Tensor) -> Tensor:
    """[steps, width] sines at the even features and cosines at the odd ones."""
    position = torch.arange(steps, dtype=torch.float32, device=like.device).unsqueeze(1)
    even = torch.arange(0, width, 2, dtype=torch.float32, device=like.device)
    angles = position / 10000.0 ** (even / width)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1).to(like.dtype)


def _mean_energy(per_step: Tensor, valid: Tensor) -> Tensor:
    energy = 2.0 * torch.sigmoid(0.5 * per_step) + 0.1
    mean: Tensor = (energy * valid).sum(-1) / valid.sum(-1).clamp(min=1)
    return mean


def _mlp(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width))

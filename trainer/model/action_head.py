"""The head that regresses a chunk of continuous actions from the prompt's hidden states."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.model.config import ActionHeadConfig
from trainer.model.tokens import ACTION_DIMS


class ResidualBlock(nn.Module):
    """LayerNorm, linear, ReLU, added to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.relu(self.linear(self.norm(x)))


class MLPResNet(nn.Module):
    """The states of one action's 7 tokens, side by side, to its 7 numbers."""

    def __init__(self, config: ActionHeadConfig) -> None:
        super().__init__()
        wide = ACTION_DIMS * config.width
        self.norm_in = nn.LayerNorm(wide)
        self.linear_in = nn.Linear(wide, config.width)
        self.blocks = nn.ModuleList(ResidualBlock(config.width) for _ in range(config.blocks))
        self.norm_out = nn.LayerNorm(config.width)
        self.linear_out = nn.Linear(config.width, ACTION_DIMS)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.linear_in(self.norm_in(x)))
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.linear_out(self.norm_out(x))
        return out


class ActionHead(nn.Module):
    """Learned action tokens read the prefix through a small bidirectional encoder."""

    def __init__(self, hidden: int, config: ActionHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.action_tokens = nn.Parameter(torch.empty(config.horizon * ACTION_DIMS, hidden))
        self.project = nn.Linear(hidden, config.width)
        self.encoder = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.width,
                config.heads,
                config.ffn,
                config.dropout,
                batch_first=True,
            )
            for _ in range(config.layers)
        )
        self.resnet = MLPResNet(config)

    def forward(self, prefix: Tensor, lengths: Tensor) -> Tensor:
        """[P, horizon, 7] from prefixes [P, L, hidden]; positions from `lengths` on are padding.

        The action tokens come first and the ragged prefixes after them: the encoder has no
        positions, so the order is free, and nothing but the padding mask depends on the raggedness.
        """
        rows = prefix.shape[0]
        queries = self.action_tokens.expand(rows, -1, -1).to(prefix.dtype)
        x = self.project(torch.cat((queries, prefix), dim=1))
        position = torch.arange(x.shape[1], device=x.device) - queries.shape[1]
        padding = position.unsqueeze(0) >= lengths.unsqueeze(1)
        for layer in self.encoder:
            x = layer(x, src_key_padding_mask=padding)
        states = x[:, : queries.shape[1]]
        return self.predict(states)

    def predict(self, states: Tensor) -> Tensor:
        """[P, horizon, 7] from the encoded action tokens [P, horizon · 7, width]."""
        rows = states.shape[0]
        actions: Tensor = self.resnet(states.reshape(rows, self.config.horizon, -1))
        return actions

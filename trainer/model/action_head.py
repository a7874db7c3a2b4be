"""The head that regresses a chunk of continuous actions from the prompt's hidden states.

Parameters are named and shaped as in the reference's checkpoints, so that they load as they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.model.config import ActionHeadConfig
from trainer.model.mlp_resnet import MLPResNet
from trainer.model.tokens import ACTION_DIMS

SEARCHING = 2.5
"""How much larger queries and keys begin as a search: the logits grow six times."""


class SelfAttention(nn.Module):
    """Bidirectional attention; parameters named as in `nn.MultiheadAttention`."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, mask: Tensor, queries: int) -> Tensor:
        """The first `queries` positions of x look at all that `mask` [P, 1, 1, S] allows."""
        rows, length, width = x.shape
        q_weight, kv_weight = self.in_proj_weight[:width], self.in_proj_weight[width:]
        q_bias, kv_bias = self.in_proj_bias[:width], self.in_proj_bias[width:]
        q = F.linear(x[:, :queries], q_weight, q_bias).view(rows, queries, self.heads, -1)
        k, v = F.linear(x, kv_weight, kv_bias).view(rows, length, 2, self.heads, -1).unbind(2)
        mixed = F.scaled_dot_product_attention(
            q.transpose(1, 2),
            k.transpose(1, 2),
            v.transpose(1, 2),
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
        )
        out: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(rows, queries, width))
        return out


class EncoderLayer(nn.Module):
    """`nn.TransformerEncoderLayer` (post-norm, ReLU), for the first positions only if asked.

    Torch's own would compute every prefix position in the last layer, although only the action
    tokens are read from it.
    """

    def __init__(self, width: int, heads: int, ffn: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = SelfAttention(width, heads, dropout)
        self.linear1 = nn.Linear(width, ffn)
        self.linear2 = nn.Linear(ffn, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor, queries: int | None = None) -> Tensor:
        """The first `queries` positions (all by default) after attention and feed-forward."""
        kept = x.shape[1] if queries is None else queries
        x = self.norm1(x[:, :kept] + self.dropout(self.self_attn(x, mask, kept)))
        fed = self.linear2(self.dropout(F.relu(self.linear1(x))))
        out: Tensor = self.norm2(x + self.dropout(fed))
        return out


class Encoder(nn.Module):
    """`nn.TransformerEncoder` with its final norm, read at the first positions only."""

    def __init__(self, config: ActionHeadConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderLayer(config.width, config.heads, config.ffn, config.dropout)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, mask: Tensor, queries: int) -> Tensor:
        """The first `queries` positions after all layers."""
        *earlier, last = self.layers
        for layer in earlier:
            x = layer(x, mask)
        out: Tensor = self.norm(last(x, mask, queries))
        return out


class L1Regression(nn.Module):
    """The states of one action's 7 tokens, side by side, to its 7 numbers."""

    def __init__(self, config: ActionHeadConfig) -> None:
        super().__init__()
        wide = ACTION_DIMS * config.width
        self.model = MLPResNet(wide, config.width, ACTION_DIMS, config.blocks, nn.ReLU)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return out


class ActionHead(nn.Module):
    """Learned action tokens read the prefix through a small bidirectional encoder."""

    def __init__(self, hidden: int, config: ActionHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.hidden = hidden
        self.action_token_embeddings = nn.Embedding(1, config.horizon * ACTION_DIMS * hidden)
        self.hidden_projection = nn.Linear(hidden, config.width)
        self.transformer_encoder = Encoder(config)
        self.output_projection = L1Regression(config)
        nn.init.normal_(self.action_token_embeddings.weight, std=0.02)

    @property
    def action_tokens(self) -> Tensor:
        """[horizon · 7, hidden] the learned tokens."""
        return self.action_token_embeddings.weight.view(-1, self.hidden)

    @torch.no_grad()
    def begin_as_search(self) -> None:
        """Start with queries that differ and attention that picks, for training from nothing.

        At 0.02 the learned tokens drown in the projection's bias, and all 7 × horizon queries begin
        as one. With torch's weights, attention begins as a mean over nearly two hundred tokens, of
        which a few show the block: where it lies is found very late or not at all.
        """
        nn.init.normal_(self.action_token_embeddings.weight, std=1.0)
        for layer in self.transformer_encoder.layers:
            assert isinstance(layer, EncoderLayer)
            layer.self_attn.in_proj_weight[: 2 * self.config.width].mul_(SEARCHING)

    def forward(self, prefix: Tensor, lengths: Tensor) -> Tensor:
        """[P, horizon, 7] from prefixes [P, L, hidden]; positions from `lengths` on are padding.

        The action tokens come first and the ragged prefixes after them: the encoder has no
        positions, so the order is free, and nothing but the mask depends on the raggedness.
        """
        rows = prefix.shape[0]
        queries = self.action_tokens.expand(rows, -1, -1).to(prefix.dtype)
        x = self.hidden_projection(torch.cat((queries, prefix), dim=1))
        count = queries.shape[1]
        position = torch.arange(x.shape[1], device=x.device) - count
        mask = (position.unsqueeze(0) < lengths.unsqueeze(1))[:, None, None, :]
        states = self.transformer_encoder(x, mask, count)
        actions: Tensor = self.output_projection(states.reshape(rows, self.config.horizon, -1))
        return actions

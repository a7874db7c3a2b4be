"""The Chameleon decoder, with the parameter names of Hugging Face's.

Written for training: residual dropout, a mask that keeps action blocks from seeing earlier ones,
and no logits (only the few positions that carry a label are projected).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.model.config import ModelConfig


@dataclass(frozen=True, slots=True)
class LastMlp:
    """What the last layer's down_proj saw and what it was added to: enough to redo the way to h."""

    residual: Tensor
    """[B, T, D] the stream before the last MLP was added."""
    activation: Tensor
    """[B, T, F] input of down_proj."""
    keep: Tensor | None
    """[B, T, D] the residual dropout that was drawn, scaled; None without dropout."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the decoder made of a batch."""

    hidden: Tensor
    """[B, T, D] after the final norm."""
    embedded: Tensor
    """[B, T, D] token embeddings, before any position has seen another."""
    layers: tuple[Tensor, ...]
    """Stream after each layer (before the final norm); empty unless asked for."""
    last_mlp: LastMlp
    """The last layer's MLP, for the pull of each loss."""


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in fp32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        normed = F.rms_norm(x.float(), (x.shape[-1],), None, self.eps)
        return self.weight * normed.to(x.dtype)


class HeadNorm(nn.Module):
    """LayerNorm over each head's own dimensions, with a gain and a bias per shard of heads."""

    def __init__(self, heads: int, width: int, shards: int | None) -> None:
        super().__init__()
        self.heads, shards = heads, shards or heads
        self.weight = nn.Parameter(torch.ones(shards, width))
        self.bias = nn.Parameter(torch.zeros(shards, width))

    def forward(self, x: Tensor) -> Tensor:
        normed = F.layer_norm(x, (x.shape[-1],), eps=1e-5)
        return normed * self._of_heads(self.weight) + self._of_heads(self.bias)

    def _of_heads(self, parameter: Tensor) -> Tensor:
        each = self.heads // parameter.shape[0]
        return parameter if each == 1 else parameter.repeat_interleave(each, dim=0)


def rotary(length: int, width: int, theta: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """cos and sin [T, width] of the rotary embedding, half-rotation layout."""
    exponent = torch.arange(0, width, 2, device=device, dtype=torch.float32) / width
    angles = torch.outer(
        torch.arange(length, device=device, dtype=torch.float32), 1.0 / theta**exponent
    )
    both = torch.cat((angles, angles), dim=-1)
    return both.cos(), both.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x [B, heads, T, width] turned by its position."""
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    return (x * cos + turned * sin).to(x.dtype)


class Attention(nn.Module):
    """Causal attention with normed queries and keys."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        kv_heads = config.kv_heads or config.heads
        self.width = config.hidden // config.heads
        self.heads, self.kv_heads = config.heads, kv_heads
        self.q_proj = nn.Linear(config.hidden, config.heads * self.width, bias=False)
        self.k_proj = nn.Linear(config.hidden, kv_heads * self.width, bias=False)
        self.v_proj = nn.Linear(config.hidden, kv_heads * self.width, bias=False)
        self.o_proj = nn.Linear(config.heads * self.width, config.hidden, bias=False)
        self.q_norm = HeadNorm(config.heads, self.width, config.norm_shards)
        self.k_norm = HeadNorm(kv_heads, self.width, config.norm_shards)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        rows, length, _ = x.shape
        q = self.q_norm(self.q_proj(x).view(rows, length, self.heads, self.width)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).view(rows, length, self.kv_heads, self.width))
        v = self.v_proj(x).view(rows, length, self.kv_heads, self.width).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k.transpose(1, 2), cos, sin)
        mixed = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            is_causal=mask is None,
            enable_gqa=self.kv_heads != self.heads,
        )
        out: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(rows, length, -1))
        return out


class SwiGLU(nn.Module):
    """Gated MLP, in two halves so that the input of down_proj can be kept."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden, config.ffn, bias=False)
        self.up_proj = nn.Linear(config.hidden, config.ffn, bias=False)
        self.down_proj = nn.Linear(config.ffn, config.hidden, bias=False)

    def activation(self, x: Tensor) -> Tensor:
        """The input of down_proj."""
        gated: Tensor = F.silu(self.gate_proj(x)) * self.up_proj(x)
        return gated

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(self.activation(x))
        return out


class DecoderLayer(nn.Module):
    """Attention and MLP, each pre-normed and added to the stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = SwiGLU(config)
        self.input_layernorm = RMSNorm(config.hidden, config.norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden, config.norm_eps)
        self.dropout = config.dropout

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, LastMlp]:
        attended = self.self_attn(self.input_layernorm(x), cos, sin, mask)
        x = x + F.dropout(attended, self.dropout, self.training)
        activation = self.mlp.activation(self.post_attention_layernorm(x))
        added = self.mlp.down_proj(activation)
        keep = None
        if self.training and self.dropout > 0:
            # Drawn by hand rather than by F.dropout: the pull has to apply the very same mask.
            keep = torch.empty_like(added).bernoulli_(1 - self.dropout).div_(1 - self.dropout)
            added = added * keep
        return x + added, LastMlp(residual=x, activation=activation, keep=keep)


class ChameleonModel(nn.Module):
    """Embedding, layers and final norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab, config.hidden)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.hidden, config.norm_eps)

    def forward(
        self, input_ids: Tensor, mask: Tensor | None = None, keep_layers: bool = False
    ) -> Decoded:
        """Runs rows [B, T]; `mask` [B, T, T] is True where a position may look, None is causal."""
        embedded = x = self.embed_tokens(input_ids)
        config = self.config
        cos, sin = rotary(
            input_ids.shape[1], config.hidden // config.heads, config.rope_theta, x.device
        )
        cos, sin = cos.to(x.dtype), sin.to(x.dtype)
        heads_mask = None if mask is None else mask.unsqueeze(1)
        kept: list[Tensor] = []
        for layer in self.layers:
            x, last_mlp = layer(x, cos, sin, heads_mask)
            if keep_layers:
                kept.append(x)
        return Decoded(
            hidden=self.norm(x), embedded=embedded, layers=tuple(kept), last_mlp=last_mlp
        )


def action_mask(action_block: Tensor, after_images: Tensor) -> Tensor:
    """[B, T, T], True where a position may look: causal, but an action block that comes after the
    last image does not see the action blocks before it."""
    length = action_block.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=action_block.device).tril()
    earlier = (action_block.unsqueeze(1) > 0) & (
        action_block.unsqueeze(1) < action_block.unsqueeze(2)
    )
    return causal & ~(earlier & after_images.unsqueeze(2))

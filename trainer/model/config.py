"""Widths of the model, and the four sizes that the presets name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from trainer.ranges import Range, check_ranges


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionHeadConfig:
    """Widths of the head that regresses continuous actions."""

    horizon: Annotated[int, Range(1)] = 5
    """Actions predicted at once."""
    width: Annotated[int, Range(1)]
    """Model width inside the head; the reference takes a quarter of the decoder's."""
    layers: Annotated[int, Range(1)] = 2
    """Transformer encoder layers."""
    heads: Annotated[int, Range(1)] = 4
    """Attention heads."""
    ffn: Annotated[int, Range(1)]
    """Width of the encoder's feed-forward layers."""
    blocks: Annotated[int, Range(0)] = 2
    """Residual blocks of the MLP behind the encoder."""
    dropout: Annotated[float, Range(0, below=1)] = 0.1
    """Dropout of the encoder layers."""

    def __post_init__(self) -> None:
        check_ranges(self, "model.head")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Widths of the decoder and its head."""

    vocab: Annotated[int, Range(1)]
    """Vocabulary; 16640 keeps every image, action and state id and ~600 ids for text."""
    hidden: Annotated[int, Range(1)]
    """Width of the residual stream."""
    layers: Annotated[int, Range(1)]
    """Decoder layers."""
    heads: Annotated[int, Range(1)]
    """Attention heads."""
    ffn: Annotated[int, Range(1)]
    """Width of the SwiGLU layers."""
    head: ActionHeadConfig
    """The ActionHead."""
    kv_heads: Annotated[int | None, Range(1)] = None
    """Key and value heads; None for as many as `heads`."""
    norm_shards: Annotated[int | None, Range(1)] = None
    """Sets of weights of the q and k norms, each for an equal share of the heads (Chameleon's
    `model_parallel_size`); None for a set a head. A stored set is repeated for the heads it is
    for; the reference trains one that all heads share with 1."""
    dropout: Annotated[float, Range(0, below=1)] = 0.0
    """Residual dropout after attention and MLP; the reference run takes 0.08."""
    rope_theta: Annotated[float, Range(above=0)] = 10000.0
    """Base of the rotary embedding."""
    norm_eps: Annotated[float, Range(above=0)] = 1e-5
    """Epsilon of RMSNorm."""
    init_std: Annotated[float, Range(0)] = 0.02
    """Standard deviation of the initial weights."""
    image_weight: Annotated[float, Range(0)] = 0.04
    """Weight of image codes in closs, whose mean is divided by the summed weights; which ids have
    it is `objectives.image_weight_ids`."""

    def __post_init__(self) -> None:
        check_ranges(self, "model")


def _head(width: int, ffn: int, **more: int) -> ActionHeadConfig:
    return ActionHeadConfig(width=width, ffn=ffn, **more)


SIZES: dict[str, ModelConfig] = {
    "micro": ModelConfig(
        vocab=16640, hidden=32, layers=2, heads=2, ffn=64, head=_head(32, 64, heads=2)
    ),
    "tiny": ModelConfig(vocab=16640, hidden=128, layers=2, heads=4, ffn=344, head=_head(128, 512)),
    "small": ModelConfig(
        vocab=65536, hidden=512, layers=8, heads=8, ffn=1376, head=_head(128, 512)
    ),
    "7b": ModelConfig(
        vocab=65536,
        hidden=4096,
        layers=32,
        heads=32,
        ffn=11008,
        head=_head(1024, 4096),
    ),
}
"""Model sizes by preset; every width can be overridden with `dataclasses.replace`."""

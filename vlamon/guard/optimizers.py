"""Which optimizers a guard takes, and which of them steps inside a wrapper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch.optim import Optimizer


def stepping(optimizer: Optimizer) -> Optimizer:
    """The optimizer that steps: Accelerate's wrapper is an Optimizer too, but runs no hooks and
    hands no attribute on."""
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    return optimizer


def checked(optimizers: Optimizer | Sequence[Optimizer]) -> list[Optimizer]:
    """The optimizers, or a sentence about one whose state an engine owns."""
    found: list[Any] = [optimizers]
    if isinstance(optimizers, Sequence):
        found = list(optimizers)
    for optimizer in found:
        layers = list(_layers(optimizer))
        engines = [each for each in layers if type(each).__module__.startswith("deepspeed.")]
        if not engines and isinstance(layers[-1], Optimizer):
            continue
        kind = type(engines[0] if engines else layers[-1])
        raise TypeError(
            f"{kind.__name__} is no torch.optim.Optimizer, and the guard cannot copy its state: "
            "give the optimizers that step; under DeepSpeed ZeRO, whose engine owns the state, use "
            "vlamon.Emitter alone and roll back with its own checkpoints"
        )
    return found


def _layers(optimizer: Any) -> Iterator[Any]:
    """The optimizer and what it wraps; DeepSpeed's keeps the one that it was given, too."""
    while optimizer is not None:
        yield optimizer
        optimizer = getattr(optimizer, "optimizer", None)

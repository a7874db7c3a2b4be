"""Which optimizers a guard takes, and which of them steps inside a wrapper."""

from __future__ import annotations

from collections.abc import Sequence
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
        inner = stepping(optimizer)
        inner = getattr(inner, "optimizer", None) or inner
        kind = type(inner)
        if isinstance(inner, Optimizer) and "deepspeed" not in kind.__module__.lower():
            continue
        raise TypeError(
            f"{kind.__name__} is no torch.optim.Optimizer, and the guard cannot copy its state: "
            "give the optimizers that step; under DeepSpeed ZeRO, whose engine owns the state, use "
            "vlamon.Emitter alone and roll back with its own checkpoints"
        )
    return found

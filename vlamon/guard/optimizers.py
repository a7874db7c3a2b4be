"""Checks the optimizers that a guard is given, and finds the one that steps inside a wrapper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from vlamon.guard.state.zero import ZeroOptimizer, is_engines, why_not


def stepping(optimizer: Optimizer) -> Optimizer:
    """The optimizer that steps: Accelerate's wrapper is an Optimizer too, but runs no hooks and
    hands no attribute on."""
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    return optimizer


def gradients(optimizer: Optimizer) -> list[torch.Tensor]:
    """The gradients that an optimizer is about to step with, on this rank."""
    if isinstance(optimizer, ZeroOptimizer):
        return optimizer.gradients()
    return [
        parameter.grad
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.grad is not None
    ]


def checked(optimizers: Optimizer | Sequence[Optimizer]) -> list[Optimizer]:
    """The optimizers, a ZeRO engine's made readable; or a sentence about one that is none."""
    given: list[Any] = [optimizers]
    if isinstance(optimizers, Sequence):
        given = list(optimizers)
    return [_readable(optimizer) for optimizer in given]


def _readable(optimizer: Any) -> Optimizer:
    if isinstance(optimizer, ZeroOptimizer):
        return optimizer
    layers = list(_layers(optimizer))
    engine = next((each for each in layers if is_engines(each)), None)
    if engine is None and isinstance(layers[-1], Optimizer):
        return optimizer  # type: ignore[no-any-return]
    why = "" if engine is None else why_not(engine)
    if engine is not None and not why:
        return ZeroOptimizer(engine, steps_in_backward=engine is not layers[0])
    kind = type(layers[-1] if engine is None else engine).__name__
    raise TypeError(
        f"{kind} is not a torch.optim.Optimizer, and the guard cannot copy its state"
        f"{why and ': '}{why}; give the optimizers that step, or use vlamon.Emitter alone and roll "
        "back with checkpoints of the engine's own"
    )


def _layers(optimizer: Any) -> Iterator[Any]:
    """The optimizer and what it wraps; DeepSpeed's keeps the one that it was given, too."""
    while optimizer is not None:
        yield optimizer
        optimizer = getattr(optimizer, "optimizer", None)

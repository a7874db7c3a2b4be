"""No non-finite number reaches the weights.

Multiplying an update by 0 is no gate: 0 · NaN is NaN. Fused optimizers skip parameters, moments and
step counters alike when `found_inf` is a device tensor holding 1, so on a GPU nothing waits; for
every other optimizer the host has to know before it calls `step`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch.optim import Optimizer

from vlamon.guard.readings import Value


def finite_step(optimizers: Sequence[Optimizer], values: Mapping[str, Value]) -> bool:
    """Whether `optimizer.step()` may be called; on a GPU fused optimizers skip by themselves."""
    verdict = _finite(optimizers, values)
    if isinstance(verdict, bool):
        return verdict
    if verdict.device.type == "cuda" and all(_fused(optimizer) for optimizer in optimizers):
        blocked = (~verdict).to(torch.float32)
        for optimizer in optimizers:
            optimizer.found_inf = blocked  # type: ignore[attr-defined]
        return True
    return bool(verdict)


def _finite(optimizers: Sequence[Optimizer], values: Mapping[str, Value]) -> torch.Tensor | bool:
    """Whether gradient norm and losses are finite, on the device that they live on."""
    numbers = [value for value in values.values() if value is not None]
    known = all(math.isfinite(n) for n in numbers if not isinstance(n, torch.Tensor))
    if not known:
        return False
    tensors = [n.detach() for n in numbers if isinstance(n, torch.Tensor)]
    if "grad_norm" not in values:
        tensors += [gradient_norm(optimizer) for optimizer in optimizers]
    if not tensors:
        return True
    return torch.stack([torch.isfinite(tensor).reshape(()) for tensor in tensors]).all()


def gradient_norm(optimizer: Optimizer) -> torch.Tensor:
    """Norm over all gradients of an optimizer; not finite if one number is not."""
    gradients = [
        parameter.grad
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.grad is not None
    ]
    if not gradients:
        return torch.zeros(())
    return torch.nn.utils.get_total_norm(gradients)


def _fused(optimizer: Optimizer) -> bool:
    return all(bool(group.get("fused")) for group in optimizer.param_groups)

"""No non-finite number reaches the weights.

Multiplying an update by 0 is no gate: 0 · NaN is NaN. Fused optimizers skip parameters, moments and
step counters alike when `found_inf` is a device tensor holding 1, so on a GPU nothing waits; for
every other optimizer the host has to know before it calls `step`.

Several ranks step together or not at all: replicas of which one skipped an update never agree
again. So every rank takes the same collectives, whatever it sees itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from vlamon.guard import agreement
from vlamon.guard.readings import Value


def finite_step(optimizers: Sequence[Optimizer], values: Mapping[str, Value]) -> bool:
    """Whether `optimizer.step()` may be called; on a GPU fused optimizers skip by themselves."""
    numbers = [n for n in values.values() if n is not None and not isinstance(n, torch.Tensor)]
    plain = all(math.isfinite(number) for number in numbers)
    if not plain and agreement.world() == 1:
        return False
    verdict = agreement.on_all_ranks(_finite(optimizers, values) & plain)
    if verdict.device.type == "cuda" and all(_fused(optimizer) for optimizer in optimizers):
        blocked = (~verdict).to(torch.float32)
        for optimizer in optimizers:
            optimizer.found_inf = blocked  # type: ignore[attr-defined]
        return True
    return bool(verdict)


def _finite(optimizers: Sequence[Optimizer], values: Mapping[str, Value]) -> torch.Tensor:
    """Whether gradient norm and tensors are finite, on the device that the parameters live on.

    The norm of sharded gradients is a collective: it is taken even where the losses decide already.
    """
    tensors = [n.detach() for n in values.values() if isinstance(n, torch.Tensor)]
    if "grad_norm" not in values:
        tensors += [gradient_norm(optimizer) for optimizer in optimizers]
    place = _device_of(optimizers)
    found = [torch.isfinite(_whole(tensor)).reshape(()).to(place) for tensor in tensors]
    return torch.stack(found).all() if found else torch.ones((), dtype=torch.bool, device=place)


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _device_of(optimizers: Sequence[Optimizer]) -> torch.device:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                return parameter.device  # type: ignore[no-any-return]
    return torch.device("cpu")


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

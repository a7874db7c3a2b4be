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
from dataclasses import dataclass

import torch
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from vlamon.guard.optimizers import gradients, stepping
from vlamon.guard.out_of_memory import NoMemory, memory_for
from vlamon.guard.reporting import QUIET_STEPS
from vlamon.guard.state.zero import ZeroOptimizer
from vlamon.guard.values import Value

BLOCKED_IN_A_ROW = 20
"""Updates kept from the weights one after another that are an explosion. A gradient scaler that
searches its scale drops some, each time halving it; it would not drop that many."""


def may_step(
    optimizers: Sequence[Optimizer], verdict: torch.Tensor | bool, *, waits: bool = False
) -> bool:
    """What was said of an update, as far as the host must know it.

    `waits`: the host looks in any case, as under a gradient scaler, which sets `found_inf` itself.
    """
    if isinstance(verdict, bool):
        return verdict
    on_device = verdict.device.type == "cuda" and all(map(_fused, optimizers))
    if waits or not on_device:
        return bool(verdict)
    try:
        with memory_for("the flag that blocks an update"):
            skip_where(~verdict, optimizers)
    except NoMemory:  # the host waits for this one
        return bool(verdict)
    return True


def pass_on(optimizers: Sequence[Optimizer], may: bool) -> bool:
    """What `Guard.check` says of an update. An engine is called in any case, since it counts its
    calls: it is told to pass over this one."""
    engines = [each for each in optimizers if isinstance(each, ZeroOptimizer)]
    for engine in engines:
        engine.pass_over(not may)
    return may or bool(engines)


def skip_where(blocked: torch.Tensor, optimizers: Sequence[Optimizer]) -> None:
    """Let fused optimizers leave out their next step where this holds, without waiting for it."""
    flag = blocked.to(torch.float32)
    for optimizer in optimizers:
        stepping(optimizer).found_inf = flag  # type: ignore[attr-defined]


def scales(part: object) -> bool:
    """Whether it is a gradient scaler that is in use."""
    return isinstance(part, torch.amp.GradScaler) and part.is_enabled()


def finite_here(optimizers: Sequence[Optimizer], values: Mapping[str, Value]) -> torch.Tensor:
    """Whether gradient norm and losses are on this rank, on the device of the parameters.

    The norm of sharded gradients is a collective: it is taken even where the losses decide already.
    """
    tensors = [n.detach() for n in values.values() if isinstance(n, torch.Tensor)]
    if "grad_norm" not in values:
        tensors += [gradient_norm(optimizer) for optimizer in optimizers]
    place = _device_of(optimizers)
    found = [torch.isfinite(whole(tensor)).reshape(()).to(place) for tensor in tensors]
    # Filled there: a copy from the host would wait.
    found.append(torch.full((), plain_finite(values), device=place))
    return torch.stack(found).all()


def plain_finite(values: Mapping[str, Value]) -> bool:
    """Whether those values are finite that are no tensors."""
    numbers = [n for n in values.values() if n is not None and not isinstance(n, torch.Tensor)]
    return all(math.isfinite(number) for number in numbers)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a sharded tensor, by a collective."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _device_of(optimizers: Sequence[Optimizer]) -> torch.device:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                device: torch.device = parameter.device
                return device
    return torch.device("cpu")


def gradient_norm(optimizer: Optimizer) -> torch.Tensor:
    """Norm over all gradients of an optimizer; not finite if one number is not."""
    if isinstance(optimizer, ZeroOptimizer):
        return optimizer.norm()
    found = gradients(optimizer)
    return torch.nn.utils.get_total_norm(found) if found else torch.zeros(())


def _fused(optimizer: Optimizer) -> bool:
    return all(bool(group.get("fused")) for group in optimizer.param_groups)


@dataclass(slots=True)
class Blockage:
    """Updates that were kept from the weights though the losses were finite: gradients were not."""

    count: int = 0
    """How many since it began."""
    running: int = 0
    """How many without an update between them."""
    last: int = -1
    """Step of the last one."""

    def note(self, step: int, blocked: bool) -> bool:
        """Whether this step begins a blockage; several calls of one step count once."""
        if step < self.last:  # the training went back
            self.count = self.running = 0
        elif step == self.last and self.count:
            return False
        if not blocked:
            return False
        self.running = self.running + 1 if self.running and step == self.last + 1 else 1
        self.count += 1
        self.last = step
        return self.count == 1

    def ended(self, step: int) -> int:
        """Once updates have gone through for a while: how many had not; else 0."""
        if not self.count or step - self.last <= QUIET_STEPS:
            return 0
        count, self.count, self.running = self.count, 0, 0
        return count

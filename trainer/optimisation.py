"""One optimizer step: micro-batches in, losses out, and no non-finite number into the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainer.batch import Batch
from trainer.config import OptimConfig
from trainer.metrics import watched_metrics
from trainer.objectives import Objectives


@dataclass(frozen=True, slots=True)
class Stepped:
    """What one optimizer step did."""

    values: dict[str, Tensor]
    """Losses and watched metrics by name, means over the micro-batches that had them."""
    grad_norm: Tensor
    """Norm of the gradient before clipping."""
    blocked: Tensor
    """1.0 where the gate kept a non-finite gradient from the weights, else 0.0."""


class LearningRate:
    """The schedule and the factor that an operator or the guard puts on it."""

    def __init__(self, config: OptimConfig, steps: int) -> None:
        self._config = config
        self._steps = steps
        self.scale = 1.0
        """Factor on the whole schedule."""

    def at(self, step: int) -> float:
        """The learning rate of a step."""
        config = self._config
        rate = config.lr * self.scale
        if step < config.warmup_steps:
            return rate * (step + 1) / config.warmup_steps
        if config.schedule == "cosine":
            span = max(1, self._steps - config.warmup_steps)
            done = min(1.0, (step - config.warmup_steps) / span)
            share = (1 + math.cos(math.pi * done)) / 2
            rate *= config.final_lr + (1 - config.final_lr) * share
        return rate

    def state_dict(self) -> dict[str, float]:
        """The factor; the rest is configuration."""
        return {"scale": self.scale}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take up a factor."""
        self.scale = float(state["scale"])


def make_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """The optimizer over two groups: matrices decay, gains and biases do not."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.betas[0])
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)


class Optimisation:
    """Forward, backward, clip, gate, step."""

    def __init__(
        self,
        model: nn.Module,
        called: nn.Module,
        objectives: Objectives,
        optimizer: torch.optim.Optimizer,
        *,
        bf16: bool = False,
    ) -> None:
        """`called` is the model as it is called: wrapped for several ranks, or compiled."""
        self.model = model
        self._called = called
        self.objectives = objectives
        self.optimizer = optimizer
        self._bf16 = bf16

    def accumulate(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """Forward and backward over the micro-batches; gradients are left to be stepped on."""
        sums: dict[str, list[Tensor]] = {}
        for index, batch in enumerate(batches):
            with self._sync(index == len(batches) - 1):
                values, total = self.losses(batch)
                torch.autograd.backward(total / len(batches))
            for name, value in {**values, "total": total}.items():
                sums.setdefault(name, []).append(value.detach())
        return {name: torch.stack(v).mean() for name, v in sums.items()}

    def losses(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """Losses, watched metrics and the total of one micro-batch."""
        device = batch.input_ids.device.type
        cast: AbstractContextManager[Any] = (
            torch.autocast(device, torch.bfloat16) if self._bf16 else nullcontext()
        )
        with cast:
            outputs = (self._called if self.model.training else self.model)(batch)
            losses = self.objectives(outputs)
        return {**watched_metrics(outputs), **losses.values}, losses.total

    def step(self, values: dict[str, Tensor], lr: float, clip_grad: float) -> Stepped:
        """Clip and step, unless the loss or the gradient is not finite."""
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if clip_grad > 0:
            torch.nn.utils.clip_grads_with_norm_(parameters, clip_grad, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        finite = torch.isfinite(norm) & torch.isfinite(values["total"])
        blocked = (~finite).float()
        if self.optimizer.defaults.get("fused"):
            # Fused kernels skip parameters, moments and step counters alike when this device
            # tensor holds 1: no question to the device, and 0 · NaN never happens.
            self.optimizer.found_inf = blocked  # type: ignore[attr-defined]
            self.optimizer.step()
        elif not blocked.item():
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return Stepped(values, norm, blocked)

    def _sync(self, last: bool) -> AbstractContextManager[Any]:
        if isinstance(self._called, DistributedDataParallel) and not last:
            return self._called.no_sync()
        return nullcontext()

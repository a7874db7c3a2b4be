"""The pieces of one optimizer step: forward and backward, clipping, the update and its rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainer.batch import Batch
from trainer.config import OptimConfig
from trainer.metrics import watched_metrics
from trainer.objectives import Objectives
from trainer.objectives.design import LossDesign


class LearningRate:
    """The schedule and the factor that an operator or the guard puts on it."""

    def __init__(self, config: OptimConfig, steps: int) -> None:
        self._config = config
        self._steps = steps
        self.scale = 1.0
        """Factor on the whole schedule; the guard keeps it, outside its snapshots."""

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


class Clipping:
    """The largest gradient norm in force: part of a snapshot, and an operator may change it."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        """0 for no clipping."""

    def state_dict(self) -> dict[str, float]:
        """The limit."""
        return {"limit": self.limit}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take up a limit."""
        self.limit = float(state["limit"])


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
    """Forward, backward, clip, update."""

    def __init__(
        self,
        model: nn.Module,
        called: nn.Module,
        design: LossDesign,
        optimizer: torch.optim.Optimizer,
        *,
        bf16: bool = False,
    ) -> None:
        """`called` is the model as it is called: wrapped for several ranks, or compiled."""
        self.model = model
        self._called = called
        self.design = design
        self.optimizer = optimizer
        self._bf16 = bf16

    @property
    def objectives(self) -> Objectives:
        """The loss terms and their weights."""
        return self.design.objectives

    def accumulate(self, batches: Sequence[Batch], step: int) -> dict[str, Tensor]:
        """Forward and backward over the micro-batches; gradients are left to be stepped on."""
        sums: dict[str, list[Tensor]] = {}
        for index, batch in enumerate(batches):
            with self._sync(index == len(batches) - 1):
                with self._cast(batch):
                    outputs, losses, pulls = self.design.train(
                        self._called, batch, step, first=index == 0
                    )
                total = losses.total * self.design.policy_factor()
                torch.autograd.backward(total / len(batches))
            values = {**watched_metrics(outputs), **losses.values, **pulls, "total": losses.total}
            for name, value in values.items():
                sums.setdefault(name, []).append(value.detach())
        return {name: torch.stack(v).mean() for name, v in sums.items()}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Losses and watched metrics of a held-out batch."""
        with self._cast(batch):
            outputs = self.model(batch)
            losses = self.design.losses(outputs)
        return {**watched_metrics(outputs), **losses.values}

    def _cast(self, batch: Batch) -> AbstractContextManager[Any]:
        device = batch.input_ids.device.type
        return torch.autocast(device, torch.bfloat16) if self._bf16 else nullcontext()

    def clip(self, limit: float) -> Tensor:
        """The gradient's norm before it is clipped to `limit` (0: not at all)."""
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if limit > 0:
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        return norm

    def update(self, lr: float) -> None:
        """Change the weights; the caller has made sure that the gradient is finite."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()

    def forget_gradient(self) -> None:
        """Begin the next step with none."""
        self.optimizer.zero_grad(set_to_none=True)

    def _sync(self, last: bool) -> AbstractContextManager[Any]:
        if isinstance(self._called, DistributedDataParallel) and not last:
            return self._called.no_sync()
        return nullcontext()

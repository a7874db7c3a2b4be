"""The pieces of one optimizer step: forward and backward, clipping, the update and its rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainer.config import OptimConfig
from trainer.metrics import watched_metrics
from trainer.model.batch import Batch
from trainer.objectives import Objectives
from trainer.objectives.design import LossDesign
from trainer.resume_overrides import ResumeOverrides


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
        self.overrides = ResumeOverrides()
        """A limit that a checkpoint does not override."""

    def state_dict(self) -> dict[str, float]:
        """The limit."""
        return {"limit": self.limit}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take up a limit."""
        self.limit = float(state["limit"])
        if "clip_grad" in self.overrides.values:
            before, self.limit = self.limit, float(self.overrides.values["clip_grad"])
            self.overrides.note("clip_grad", before, self.limit)


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


CONFIGURED = ("weight_decay", "betas", "momentum")
"""What the configuration says of a group of parameters, besides the learning rate."""


@dataclass(frozen=True, slots=True)
class Accumulated:
    """What the micro-batches of a step came to; their gradients are in the parameters."""

    values: dict[str, Tensor]
    """Each metric's mean over the micro-batches that have it."""
    counts: dict[str, int]
    """How many those are."""
    trained: bool
    """Whether a weighted term had a gradient on this rank."""


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
        self._configured = [
            {name: group[name] for name in CONFIGURED if name in group}
            for group in optimizer.param_groups
        ]

    @property
    def objectives(self) -> Objectives:
        """The loss terms and their weights."""
        return self.design.objectives

    def accumulate(self, batches: Sequence[Batch], step: int) -> Accumulated:
        """Forward and backward over the micro-batches; gradients are left to be stepped on."""
        sums: dict[str, list[Tensor]] = {}
        counts: dict[str, int] = {}
        trained, of = False, len(batches)
        for index, batch in enumerate(batches):
            with self._sync(index == of - 1):
                with self._cast(batch):
                    outputs, losses, pulls = self.design.train(
                        self._called, batch, step, first=index == 0, of=of
                    )
                trained = trained or losses.total.requires_grad
                total = losses.total / of
                if self._several and index == of - 1:
                    total = total + outputs.touch()  # the other ranks wait for these gradients
                if total.requires_grad:
                    torch.autograd.backward(total)
            values = {**watched_metrics(outputs), **losses.values, **pulls, "total": losses.total}
            for name, value in values.items():
                sums.setdefault(name, []).append(value.detach())
                counts[name] = counts.get(name, 0) + (of if name in losses.whole else 1)
        means = {name: torch.stack(v).mean() for name, v in sums.items()}
        return Accumulated(means, counts, trained)

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
        """Change the weights; the caller has made sure that the gradient is finite.

        Rate, decay and betas are the configuration's also where a checkpoint had others.
        """
        for group, configured in zip(self.optimizer.param_groups, self._configured, strict=True):
            group.update(configured, lr=lr)
        self.optimizer.step()

    def forget_gradient(self) -> None:
        """Begin the next step with none."""
        self.optimizer.zero_grad(set_to_none=True)

    @property
    def _several(self) -> bool:
        return isinstance(self._called, DistributedDataParallel)

    def _sync(self, last: bool) -> AbstractContextManager[Any]:
        if isinstance(self._called, DistributedDataParallel) and not last:
            return self._called.no_sync()
        return nullcontext()

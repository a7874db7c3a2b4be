"""One optimizer step of a run: data, forward, backward, clipping, update.

The loop trains with it, and the guard's autopsy trains a step once more with it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from trainer.distributed import Reduced
from trainer.faults import poison_hook
from trainer.model.batch import Batch
from trainer.run import Run


@dataclass(frozen=True, slots=True)
class Computed:
    """A step up to its clipped gradient."""

    step: int
    """Number of the step."""
    values: dict[str, Tensor]
    """Losses, watched metrics and the total of this rank."""
    losses: Mapping[str, Tensor]
    """The loss terms among them."""
    counts: Mapping[str, int]
    """How many of its micro-batches had each of them."""
    weights: Mapping[str, float]
    """Loss weights that were in force."""
    grad_norm: Tensor | None
    """Norm of the gradient before clipping, the same on all ranks; None where no rank has one."""
    lr: float
    """Learning rate for the update."""
    batches: list[Batch]
    """What this rank saw."""
    data_seconds: float
    """Time spent on getting the data."""


def compute(run: Run, step: int) -> Computed:
    """Data, forward, backward, clipping."""
    began = time.perf_counter()
    run.phase("data")
    first, batches = run.next_batches()
    end = run.sampler.cursor
    data_seconds = time.perf_counter() - began

    run.faults.strike_weights(run.model, first, end)
    poison = None
    if run.faults.poisons(first, end):
        poison = run.model.model.norm.register_forward_hook(poison_hook)
    run.phase("forward")
    weights = run.optimisation.design.weights
    done = run.optimisation.accumulate(batches, step)
    values, trained = done.values, run.ranks.any(done.trained)
    if poison is not None:
        poison.remove()

    run.phase("step")
    limit = run.clipping.limit if run.faults.clips(first) else 0.0
    norm = run.optimisation.clip(limit) if trained else None
    losses = {name: values[name] for name in run.optimisation.objectives.terms if name in values}
    lr = run.learning_rate.at(step) * run.faults.lr_factor(first, end)
    return Computed(step, values, losses, done.counts, weights, norm, lr, batches, data_seconds)


def update(run: Run, computed: Computed, finite: bool) -> None:
    """Change the weights, unless a non-finite number would get into them, or nothing at all."""
    design = run.optimisation.design
    updated = finite and computed.grad_norm is not None and design.policy_turn(computed.step)
    if updated:
        run.optimisation.update(computed.lr)
    run.optimisation.forget_gradient()
    computed.values.update(design.finish(computed.step, updated=updated))
    design.advance(computed.values, lambda values: reduced(run, computed, values).values)


def reduced(run: Run, computed: Computed, values: Mapping[str, Tensor]) -> Reduced:
    """A step's values over all micro-batches of all ranks."""
    return run.reduce.pool(values, computed.counts, len(computed.batches))

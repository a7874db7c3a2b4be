"""The loss design of a run: terms, weighting, pull and energy model behind one face for the loop.

design.losses(outputs)                      # values and total of a validation batch
design.train(called, batch, step)           # the same in training, with pull and energy inputs
if design.policy_turn(step): ...            # the optimizer's update
design.finish(step, updated=True)           # the energy model's update; its metrics
design.advance(reduced)                     # schedules and weighting move on
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from trainer.batch import Batch
from trainer.model.energy import EnergyConfig, EnergyModel
from trainer.model.vla import VLA, Outputs
from trainer.objectives.coupling import Coupling
from trainer.objectives.energy_task import LOSSES, EnergyTask
from trainer.objectives.pull import DEFAULT_EVERY, measure_pull
from trainer.objectives.total import Losses, ObjectiveError, Objectives

ENERGY_METRICS = (
    "energy",
    "energy_positive",
    "energy_negative",
    "energy_gap",
    "energy_acc",
    "energy_grad_norm",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DesignConfig:
    """What is trained besides the policy, and how the weights behave."""

    weighting: str = "fixed"
    """`fixed`, `importance`, `running_scale`, `uncertainty`, `gradnorm` or `dwa`."""
    pull_every: int = DEFAULT_EVERY
    """Steps between two measurements of the pull; 0 for none."""
    energy: str = "off"
    """Loss of the energy model: `swap`, `hinge`, or `off` for no energy model."""
    energy_width: int = 512
    """Width of the energy model."""
    energy_lr: float = 1e-4
    """Learning rate of its own optimizer."""
    energy_clip: float = 1.0
    """Its own gradient clipping."""
    coupling: str = "joint"
    """How policy and energy model are coupled; names joined by `+` compose."""

    def __post_init__(self) -> None:
        Objectives(weighting=self.weighting)
        Coupling.named(self.coupling)
        if self.energy not in ("off", *LOSSES):
            raise ObjectiveError(f"energy must be off, swap or hinge, not {self.energy!r}")
        if self.pull_every < 0 or self.energy_width % 8:
            raise ObjectiveError("pull_every must be at least 0, energy_width a multiple of 8")


class LossDesign:
    """Terms, weights, pull and energy model of one run."""

    def __init__(
        self, model: VLA, config: DesignConfig, weights: Mapping[str, float | str] | None = None
    ) -> None:
        self.model, self.config = model, config
        self.objectives = Objectives(weights, weighting=config.weighting)
        self.energy: EnergyTask | None = None
        if config.energy != "off":
            if not self.objectives.stated["energy"]:
                self.objectives.set("energy", 1.0)
            self.energy = self._energy_task()
        self._batch: Batch | None = None
        self._norms: dict[str, float] = {}
        self._policy_loss: float | None = None

    def _energy_task(self) -> EnergyTask:
        config = self.config
        # Built from a generator state of its own, so that a run without it draws the same policy.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch.initial_seed())
            energy = EnergyModel(self.model.config.hidden, EnergyConfig(width=config.energy_width))
        return EnergyTask(
            self.model,
            energy.to(self.model.lm_head.weight.device),
            Coupling.named(config.coupling),
            loss="swap" if config.energy == "swap" else "hinge",
            learning_rate=config.energy_lr,
            clip_grad=config.energy_clip,
            weight=lambda: self.objectives.weights.get("energy", 0.0),
        )

    def losses(self, outputs: Outputs) -> Losses:
        """Losses of outputs, without any effect."""
        return self.objectives(outputs)

    def train(
        self, called: Callable[..., Outputs], batch: Batch, step: int, *, first: bool = True
    ) -> tuple[Outputs, Losses, dict[str, Tensor]]:
        """A training forward with its losses and the pulls, where they are due.

        Pull and energy model look at the `first` micro-batch of a step only. `called` is the model
        as it is called: wrapped for several ranks, or compiled.
        """
        energy = self.energy if first else None
        every = self.config.pull_every
        trace = first and every > 0 and step % every == 0
        keep = energy is not None and energy.keep_layers
        outputs = called(batch, keep_layers=keep, trace=trace)
        if energy is not None:
            self._batch = batch
            outputs = energy.before_update(outputs, step)
        losses = self.objectives(outputs)
        metrics: dict[str, Tensor] = {}
        if trace:
            pull = measure_pull(self.model, outputs, self.objectives)
            metrics = pull.metrics()
            if self.objectives.weighting.needs == "norms":
                self._norms = pull.unweighted_norms()
        if energy is not None and energy.coupling.watches_losses and "loss_ct" in losses.values:
            self._policy_loss = float(losses.values["loss_ct"].detach())
        return outputs, losses, metrics

    def policy_turn(self, step: int) -> bool:
        """Whether the policy is to be updated at this step."""
        return self.energy is None or self.energy.policy_turn(step)

    def policy_factor(self) -> float:
        """Factor that the coupling puts on the policy's total."""
        return 1.0 if self.energy is None else self.energy.policy_weight()

    def finish(self, step: int, *, updated: bool) -> dict[str, Tensor]:
        """After the policy's update (or without one): the energy model's, and its metrics."""
        batch, self._batch = self._batch, None
        shown, self._policy_loss = self._policy_loss, None
        if self.energy is None or batch is None:
            return {}
        if updated:
            self.energy.policy_updated()
        return self.energy.update(batch, step, shown)

    def advance(
        self,
        values: Mapping[str, Tensor],
        reduce: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict,
    ) -> None:
        """Ends the step; a strategy that learns is given the losses as `reduce` means them over
        the ranks."""
        norms, self._norms = self._norms, {}
        needs = self.objectives.weighting.needs
        if needs == "norms" and _several_ranks():
            norms = mean_over_ranks(norms, list(self.objectives.terms))
        self.objectives.advance(reduce(values) if needs != "nothing" else {}, norms)

    def metric_names(self) -> list[str]:
        """Every metric that this design may add to a batch."""
        terms = list(self.objectives.terms)
        pulls = [f"pull_{name}" for name in terms]
        conflicts = [f"conflict_{a}_{b}" for a, b in combinations(terms, 2)]
        return [*pulls, *conflicts, *ENERGY_METRICS]

    def state_dict(self) -> dict[str, Any]:
        """Everything that a bit-exact resume needs of weights, schedules and energy model."""
        energy = {} if self.energy is None else self.energy.state_dict()
        return {"objectives": self.objectives.state_dict(), "energy": energy}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up `state_dict`; an energy model that the state lacks keeps its start.

        Before there was an energy model the state was that of the objectives alone.
        """
        self.objectives.load_state_dict(state.get("objectives", state))
        if self.energy is not None and state.get("energy"):
            self.energy.load_state_dict(state["energy"])


def _several_ranks() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def mean_over_ranks(norms: Mapping[str, float], names: list[str]) -> dict[str, float]:
    """Means by name over the ranks that measured a norm, so that all ranks weigh alike."""
    on = torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
    packed = torch.tensor(
        [*(norms.get(name, 0.0) for name in names), *(float(name in norms) for name in names)],
        dtype=torch.float64,
        device=on,
    )
    dist.all_reduce(packed)
    sums, counts = packed.tolist()[: len(names)], packed.tolist()[len(names) :]
    return {
        name: total / count for name, total, count in zip(names, sums, counts, strict=True) if count
    }

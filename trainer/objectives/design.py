"""The loss design of a run: terms, weighting, pull and energy model behind one face for the loop.

design.weights                              # weights in force, the coupling's factors in them
design.losses(outputs)                      # values and total of a validation batch
design.train(called, batch, step)           # the same in training, with pull and energy inputs
if design.policy_turn(step): ...            # the optimizer's update
design.finish(step, updated=True)           # the energy model's update; its metrics
design.advance(reduced)                     # schedules and weighting move on
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Annotated, Any

import torch
import torch.distributed as dist
from torch import Tensor

from trainer.model.batch import Batch
from trainer.model.energy import EnergyConfig
from trainer.model.tokens import IMAGE_WEIGHT_IDS
from trainer.model.vla import VLA, Outputs
from trainer.objectives.coupling import ALONE, DEFAULT_REFRESH, Coupling
from trainer.objectives.energy_task import DEFAULT_LAYERS, KINDS, EnergyTask
from trainer.objectives.pull import DEFAULT_EVERY, measure_pull
from trainer.objectives.total import Losses, ObjectiveError, Objectives
from trainer.ranges import Range, check_ranges
from trainer.resume_overrides import ResumeOverrides

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
    pull_every: Annotated[int, Range(0)] = DEFAULT_EVERY
    """Steps between two measurements of the pull; 0 for none."""
    image_weight_ids: str = "reference"
    """Ids that `model.image_weight` is for: `reference` (3 to 8194, as its closs has them) or
    `codes` (4 to 8195, the image codes)."""
    energy: str = "off"
    """`off`, the found code's energy model with its hinge (`reference`) or in-batch swaps
    (`reference_swap`), or a simpler model with `hinge` or `swap`."""
    energy_layers: Annotated[tuple[int, ...], Range(0)] = DEFAULT_LAYERS
    """Hidden states whose actions are the negatives of `reference`: 0 is the embedding, 1 the
    first layer's."""
    energy_width: Annotated[int, Range(8, multiple=8)] = 512
    """Width of the energy model."""
    energy_lr: Annotated[float, Range(above=0)] = 1e-4
    """Learning rate of its own optimizer."""
    energy_clip: Annotated[float, Range(0)] = 1.0
    """Its own gradient clipping, 0 for none."""
    coupling: str = "joint"
    """How policy and energy model are coupled; names joined by `+` compose."""
    cache_refresh: Annotated[int, Range(1)] = DEFAULT_REFRESH
    """Steps for which `cache` keeps the head that makes the layer actions."""

    def __post_init__(self) -> None:
        Objectives(weighting=self.weighting)
        Coupling.named(self.coupling)
        if self.image_weight_ids not in IMAGE_WEIGHT_IDS:
            known = " or ".join(IMAGE_WEIGHT_IDS)
            raise ObjectiveError(f"image_weight_ids must be {known}, not {self.image_weight_ids!r}")
        if self.energy not in ("off", *KINDS):
            known = ", ".join(("off", *KINDS))
            raise ObjectiveError(f"energy must be one of {known}, not {self.energy!r}")
        if not self.energy_layers:
            raise ObjectiveError("energy_layers must name at least one layer, such as 1")
        check_ranges(self, "objectives")


class LossDesign:
    """Terms, weights, pull and energy model of one run."""

    def __init__(
        self, model: VLA, config: DesignConfig, weights: Mapping[str, float | str] | None = None
    ) -> None:
        self.model, self.config = model, config
        model.image_weight_ids = IMAGE_WEIGHT_IDS[config.image_weight_ids]
        self.objectives = Objectives(weights, weighting=config.weighting)
        self.overrides = ResumeOverrides()
        """Weights that a checkpoint does not override."""
        self.energy: EnergyTask | None = None
        if config.energy == "off":
            alone(config.coupling).prepare(model)
        else:
            if "energy" not in (weights or {}):
                self.objectives.set("energy", 1.0)
            self.energy = self._energy_task()
        self._batch: Batch | None = None
        self._norms: dict[str, float] = {}

    def _energy_task(self) -> EnergyTask:
        config = self.config
        # Built from a generator state of its own, so that a run without it draws the same policy.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch.initial_seed())
            build = KINDS[config.energy].model
            energy = build(self.model.config.hidden, EnergyConfig(width=config.energy_width))
        return EnergyTask(
            self.model,
            energy.to(self.model.lm_head.weight.device),
            Coupling.named(config.coupling, config.cache_refresh),
            kind=config.energy,
            layers=config.energy_layers,
            learning_rate=config.energy_lr,
            clip_grad=config.energy_clip,
            weight=lambda: self.weights.get("energy", 0.0),
        )

    @property
    def weights(self) -> dict[str, float]:
        """Weights in force, times what the coupling puts on policy and energy model."""
        policy, energy = (1.0, 1.0) if self.energy is None else self.energy.factors()
        return {
            name: weight * (energy if name == "energy" else policy)
            for name, weight in self.objectives.weights.items()
        }

    @property
    def apart(self) -> frozenset[str]:
        """Terms with a weight whose loss is not a part of the total: it trains the energy model."""
        entangled = self.energy is not None and self.energy.coupling.entangled()
        return frozenset() if entangled else frozenset({"energy"})

    def trains_something(self) -> bool:
        """Whether anything has a weight, now or later."""
        names = [name for name, term in self.objectives.terms.items() if term.kind == "trained"]
        if self.energy is None:
            names.remove("energy")
        return any(self.objectives.ever(name) for name in names)

    def losses(self, outputs: Outputs) -> Losses:
        """Losses of outputs, without any effect."""
        return self.objectives(outputs)

    def train(
        self,
        called: Callable[..., Outputs],
        batch: Batch,
        step: int,
        *,
        first: bool = True,
        of: int = 1,
    ) -> tuple[Outputs, Losses, dict[str, Tensor]]:
        """A training forward with its losses and the pulls, where they are due.

        Pull and energy model look at the `first` of a step's `of` micro-batches only. `called` is
        the model as it is called: wrapped for several ranks, or compiled.
        """
        energy = self.energy if first else None
        every = self.config.pull_every
        trace = first and every > 0 and step % every == 0
        keep = energy is not None and energy.keep_layers
        outputs = called(batch, keep_layers=keep, trace=trace)
        if energy is not None:
            self._batch = batch
            outputs = energy.before_update(outputs, step)
        weights = self.weights
        losses = self._of_step(self.objectives(outputs, _times(weights, "energy", of)), weights)
        metrics: dict[str, Tensor] = {}
        if trace:
            pull = measure_pull(self.model, outputs, self.objectives, weights)
            metrics = pull.metrics()
            if self.objectives.weighting.needs == "norms":
                self._norms = pull.unweighted_norms()
        return outputs, losses, metrics

    def _of_step(self, losses: Losses, weights: Mapping[str, float]) -> Losses:
        whole = frozenset({"energy"} & losses.values.keys())
        return replace(losses, weights=weights, whole=whole)

    def policy_turn(self, step: int) -> bool:
        """Whether the policy is to be updated at this step."""
        return self.energy is None or self.energy.policy_turn(step)

    def finish(self, step: int, *, updated: bool) -> dict[str, Tensor]:
        """After the policy's update (or without one): the energy model's, and its metrics."""
        batch, self._batch = self._batch, None
        if self.energy is None or batch is None:
            return {}
        if updated:
            self.energy.policy_updated()
        return self.energy.update(batch, step)

    def advance(
        self,
        values: Mapping[str, Tensor],
        reduce: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict,
    ) -> None:
        """Ends the step; what learns from losses is given them as `reduce` means them over the
        ranks, so that all ranks learn the same."""
        norms, self._norms = self._norms, {}
        needs = self.objectives.weighting.needs
        if needs == "norms" and _several_ranks():
            norms = mean_over_ranks(norms, list(self.objectives.terms))
        watching = self.energy is not None and self.energy.coupling.watches_losses
        reduced = reduce(values) if watching or needs != "nothing" else {}
        if self.energy is not None and watching:
            policy, energy = reduced.get("loss_ct"), reduced.get("energy")
            self.energy.observe(
                None if policy is None else float(policy), None if energy is None else float(energy)
            )
        self.objectives.advance(reduced, norms)

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
        """Takes up `state_dict`, except for weights that the command line of the resume names.

        An energy model that the state lacks keeps its start, its weight too; without an energy
        model its loss weighs nothing.
        """
        begun = self.objectives.differing().get("energy", 0.0)
        self.objectives.load_state_dict(state["objectives"])
        if self.energy is not None and state["energy"]:
            self.energy.load_state_dict(state["energy"])
        else:
            self.objectives.set("energy", begun)
        for name, value in self.overrides.values.items():
            before = self.objectives.differing().get(name, self.objectives.terms[name].weight)
            self.objectives.set(name, value)
            now = self.objectives.differing().get(name, self.objectives.terms[name].weight)
            self.overrides.note(f"{name}_weight", before, now)


def alone(names: str) -> Coupling:
    """The coupling of a policy without an energy model: only freezing means something then."""
    coupling = Coupling.named(names)
    idle = [part.name for part in coupling.parts if part.name not in ALONE]
    if idle:
        raise ObjectiveError(
            f"objectives.coupling={names} needs an energy model, for {idle[0]} is about what the"
            f" two do to each other: set objectives.energy to one of {', '.join(KINDS)}"
        )
    return coupling


def _times(weights: Mapping[str, float], name: str, factor: int) -> dict[str, float]:
    return {n: weight * factor if n == name else weight for n, weight in weights.items()}


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

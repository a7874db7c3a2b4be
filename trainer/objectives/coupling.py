"""Remedies against the coupling of policy and energy model, composable by name.

The coupling: an L1 update of the ActionHead moves the layer actions, which are the energy model's
negatives in the next batch, so the energy loss jumps although no gradient ever crosses. A remedy
answers some of the questions below and leaves the rest to `joint`; a `Coupling` such as
`Coupling.named("cache+adaptive")` asks each part in turn.
"""

from __future__ import annotations

import copy
import math
import statistics
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn

from trainer.model.vla import VLA
from trainer.objectives.total import ObjectiveError

When = Literal["before", "after"]
"""Energy inputs from the policy's own forward, or recomputed after its update."""
DEFAULT_REFRESH = 50
"""Steps for which `cache` keeps the head that makes the layer actions: the proposal's period."""


class Remedy:
    """Answers of `joint`, the found code: one forward whose hidden states the energy model gets
    detached, live negatives, both sides updated at every step."""

    name = "joint"
    watches_losses = False

    def prepare(self, model: VLA) -> None:
        """Called once, before the optimizers are built."""

    def policy_turn(self, step: int) -> bool:
        """Whether the policy is updated at this step."""
        return True

    def energy_turn(self, step: int) -> bool:
        """Whether the energy model is updated at this step."""
        return True

    def inputs(self) -> When | None:
        """When the energy inputs are computed; None for no opinion."""
        return None

    def entangled(self) -> bool:
        """Whether the energy loss's gradient runs on into the decoder."""
        return False

    def quiet(self) -> bool:
        """Whether recomputed inputs come from the model in evaluation mode (no dropout)."""
        return False

    def weights(self) -> tuple[float, float]:
        """Factors on the policy's and the energy model's loss."""
        return 1.0, 1.0

    def observe(self, policy: float | None, energy: float | None) -> None:
        """Take both losses after each step."""

    def head(self, live: nn.Module) -> nn.Module:
        """Head that makes the layer actions, given the policy's own."""
        return live

    def cached(self, step: int, head: nn.Module) -> nn.Module:
        """The same head, or a copy that is refreshed now and then."""
        return head

    def policy_updated(self, model: VLA) -> None:
        """Called after each update of the policy."""

    def state_dict(self) -> dict[str, Any]:
        """What a bit-exact resume needs."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up `state_dict`."""


class Entangled(Remedy):
    """No remedy: the hidden states are not detached, so the energy loss trains the decoder too.

    The baseline for every claim that a remedy protects the policy.
    """

    name = "entangled"

    def inputs(self) -> When:
        return "before"

    def entangled(self) -> bool:
        return True


class Isolate(Remedy):
    """Two phases: the policy is updated first, then the energy inputs are recomputed."""

    name = "isolate"

    def inputs(self) -> When:
        return "after"


class Separate(Isolate):
    """Two phases on two graphs: the second forward runs in evaluation mode, without gradients.

    The original proposal switched `requires_grad` for whole models and un-froze what had been
    frozen; without a graph there is nothing to switch.
    """

    name = "separate"

    def quiet(self) -> bool:
        return True


class Alternate(Remedy):
    """Policy and energy model take turns of `every` steps."""

    name = "alternate"

    def __init__(self, every: int = 5) -> None:
        self.every = every

    def policy_turn(self, step: int) -> bool:
        return step // self.every % 2 == 0

    def energy_turn(self, step: int) -> bool:
        return not self.policy_turn(step)


class Adaptive(Remedy):
    """Scales down the loss whose last ten values vary too much (the proposal's limits).

    As there, it decides once it has seen more than ten; until then the policy comes first.
    """

    name = "adaptive"
    watches_losses = True
    window = 10

    def __init__(self, policy_limit: float = 0.01, energy_limit: float = 0.1) -> None:
        self.limits = policy_limit, energy_limit
        self.policy: deque[float] = deque(maxlen=self.window + 1)
        self.energy: deque[float] = deque(maxlen=self.window + 1)

    def weights(self) -> tuple[float, float]:
        if min(len(self.policy), len(self.energy)) <= self.window:
            return 1.0, 0.1
        if self._variance(self.policy) > self.limits[0]:
            return 0.5, 1.0
        if self._variance(self.energy) > self.limits[1]:
            return 1.0, 0.3
        return 1.0, 1.0

    def observe(self, policy: float | None, energy: float | None) -> None:
        if policy is not None and math.isfinite(policy):
            self.policy.append(policy)
        if energy is not None and math.isfinite(energy):
            self.energy.append(energy)

    def state_dict(self) -> dict[str, Any]:
        return {"policy": list(self.policy), "energy": list(self.energy)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.policy = deque(state["policy"], maxlen=self.window + 1)
        self.energy = deque(state["energy"], maxlen=self.window + 1)

    def _variance(self, values: Sequence[float]) -> float:
        return statistics.variance(list(values)[-self.window :])


class Cache(Remedy):
    """Makes the layer actions with a copy of the head that is refreshed every `refresh` steps.

    The proposal kept the layer actions themselves, by sample. A sample comes back only in the next
    pass over the data, long after its entry is stale, so nothing was ever found there. Kept as a
    head, the negatives stand still for every sample, on every rank, whatever the order.
    """

    name = "cache"

    def __init__(self, refresh: int = DEFAULT_REFRESH) -> None:
        self.refresh = refresh
        self.copy: nn.Module | None = None
        self.taken: int | None = None
        """Step at which the copy was taken."""

    def prepare(self, model: VLA) -> None:
        self.copy = copy.deepcopy(model.action_head).requires_grad_(False).eval()

    def cached(self, step: int, head: nn.Module) -> nn.Module:
        if self.copy is None:
            return head
        if self.taken is None or step - self.taken >= self.refresh:
            self.copy.load_state_dict(head.state_dict())
            self.taken = step
        return self.copy

    def state_dict(self) -> dict[str, Any]:
        if self.copy is None:
            return {}
        return {"taken": self.taken, "head": self.copy.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self.copy is not None:
            self.copy.load_state_dict(state["head"])
            self.taken = state["taken"]


class EmaTarget(Remedy):
    """Negatives come from an exponential average of the head, so they move slowly."""

    name = "ema_target"

    def __init__(self, decay: float = 0.99) -> None:
        self.decay = decay
        self.target: nn.Module | None = None

    def prepare(self, model: VLA) -> None:
        self.target = copy.deepcopy(model.action_head).requires_grad_(False).eval()

    def head(self, live: nn.Module) -> nn.Module:
        return live if self.target is None else self.target

    @torch.no_grad()
    def policy_updated(self, model: VLA) -> None:
        if self.target is not None:
            live = model.action_head.parameters()
            for average, parameter in zip(self.target.parameters(), live, strict=True):
                average.lerp_(parameter, 1 - self.decay)

    def state_dict(self) -> dict[str, Any]:
        return {} if self.target is None else {"target": self.target.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self.target is not None:
            self.target.load_state_dict(state["target"])


class FreezeBackbone(Remedy):
    """Trains the ActionHead alone; decoder and token head keep their weights."""

    name = "freeze_backbone"

    def prepare(self, model: VLA) -> None:
        model.model.requires_grad_(False)
        model.lm_head.requires_grad_(False)


REMEDIES: dict[str, Callable[[], Remedy]] = {
    remedy.name: remedy
    for remedy in (
        Remedy,
        Entangled,
        Isolate,
        Alternate,
        Adaptive,
        Cache,
        Separate,
        EmaTarget,
        FreezeBackbone,
    )
}


ALONE = ("joint", "freeze_backbone")
"""Couplings that mean something without an energy model too."""


class Coupling(Remedy):
    """Several remedies as one: each question goes to the parts that have an answer."""

    def __init__(self, parts: Sequence[Remedy]) -> None:
        self.parts = tuple(parts)
        self.name = "+".join(part.name for part in self.parts)
        self.watches_losses = any(part.watches_losses for part in self.parts)

    @classmethod
    def named(cls, names: str, refresh: int = DEFAULT_REFRESH) -> Coupling:
        """The remedies joined by `+`, such as `separate+ema_target`; `refresh` is for `cache`."""
        unknown = [name for name in names.split("+") if name not in REMEDIES]
        if unknown:
            known = ", ".join(REMEDIES)
            raise ObjectiveError(f"no coupling is called {unknown[0]!r}; there are {known}")
        parts = [REMEDIES[name]() for name in names.split("+")]
        for part in parts:
            if isinstance(part, Cache):
                part.refresh = refresh
        return cls(parts)

    def prepare(self, model: VLA) -> None:
        for part in self.parts:
            part.prepare(model)

    def policy_turn(self, step: int) -> bool:
        return all(part.policy_turn(step) for part in self.parts)

    def energy_turn(self, step: int) -> bool:
        return all(part.energy_turn(step) for part in self.parts)

    def inputs(self) -> When:
        return next((when for part in self.parts if (when := part.inputs())), "before")

    def entangled(self) -> bool:
        return any(part.entangled() for part in self.parts) and self.inputs() == "before"

    def quiet(self) -> bool:
        return any(part.quiet() for part in self.parts)

    def weights(self) -> tuple[float, float]:
        pairs = [part.weights() for part in self.parts]
        return math.prod(pair[0] for pair in pairs), math.prod(pair[1] for pair in pairs)

    def observe(self, policy: float | None, energy: float | None) -> None:
        for part in self.parts:
            part.observe(policy, energy)

    def head(self, live: nn.Module) -> nn.Module:
        for part in self.parts:
            live = part.head(live)
        return live

    def cached(self, step: int, head: nn.Module) -> nn.Module:
        for part in self.parts:
            head = part.cached(step, head)
        return head

    def policy_updated(self, model: VLA) -> None:
        for part in self.parts:
            part.policy_updated(model)

    def state_dict(self) -> dict[str, Any]:
        return {part.name: part.state_dict() for part in self.parts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for part in self.parts:
            part.load_state_dict(state[part.name])

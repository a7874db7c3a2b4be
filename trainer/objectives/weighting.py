"""How stated weights become the weights in force: strategies behind one protocol.

A stated weight is a number or a schedule (`Objectives` follows it), and a strategy acts on what is
stated at the step; so schedules go with every strategy. A strategy lives on the host and learns
from the numbers that are logged anyway (reduced over the ranks, so that every rank weighs alike):
none adds parameters to the model, a group to its optimizer, or a synchronisation of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

Needs = Literal["nothing", "values", "norms"]
LARGEST_RATIO = 10.0
"""How many times what it was before a loss counts as: a spike must not decide the weights."""


class Weighting:
    """`fixed`: the stated weights, as they are."""

    name = "fixed"
    needs: Needs = "nothing"
    """What `advance` has to be given: nothing, loss values, or gradient norms too."""

    def weights(self, stated: Mapping[str, float]) -> dict[str, float]:
        """The weights in force; a term stated at 0 stays off."""
        return {name: weight for name, weight in stated.items() if weight}

    def advance(
        self,
        stated: Mapping[str, float],
        values: Mapping[str, float],
        norms: Mapping[str, float],
    ) -> None:
        """Learns from one step: unweighted losses, and the norms of their unweighted gradients on
        the shared weight (empty at steps that measured none)."""

    def state_dict(self) -> dict[str, Any]:
        """What a bit-exact resume needs."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up `state_dict`."""


class Importance(Weighting):
    """`importance`: stated weights are importances of any unit; the weights average 1."""

    name = "importance"

    def weights(self, stated: Mapping[str, float]) -> dict[str, float]:
        active = super().weights(stated)
        summed = sum(active.values())
        return {name: len(active) * share / summed for name, share in active.items()}


class RunningScale(Weighting):
    """`running_scale`: each loss divided by its own running mean, so that weights compare.

    At a stated weight of 1 a term contributes about 1 to the total, whatever its unit.
    """

    name = "running_scale"
    needs: Needs = "values"

    def __init__(self, decay: float = 0.99) -> None:
        self.decay = decay
        self.mean: dict[str, float] = {}
        self.seen: dict[str, int] = {}

    def weights(self, stated: Mapping[str, float]) -> dict[str, float]:
        return {
            name: weight / max(self._scale(name), 1e-8)
            for name, weight in super().weights(stated).items()
        }

    def advance(
        self,
        stated: Mapping[str, float],
        values: Mapping[str, float],
        norms: Mapping[str, float],
    ) -> None:
        for name, value in _finite(values, stated):
            size = abs(value)
            if not size:  # of no such rows, or at its start: no scale to divide by
                continue
            # A spike would shrink its own weight for a hundred steps: bounded to 10 × the mean.
            if self.seen.get(name):
                size = min(size, LARGEST_RATIO * self._scale(name))
            self.mean[name] = self.decay * self.mean.get(name, 0.0) + (1 - self.decay) * size
            self.seen[name] = self.seen.get(name, 0) + 1

    def _scale(self, name: str) -> float:
        count = self.seen.get(name, 0)
        return self.mean[name] / (1 - self.decay**count) if count else 1.0

    def state_dict(self) -> dict[str, Any]:
        return {"mean": dict(self.mean), "seen": dict(self.seen)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.mean, self.seen = dict(state["mean"]), dict(state["seen"])


class Uncertainty(Weighting):
    """`uncertainty`: learned log-variances s, minimising Σ exp(−s)·L + s (Kendall et al. 2018).

    The slope by s is known in closed form, 1 − exp(−s)·L, so s is learned here, by clipped gradient
    descent on the reduced losses, rather than in the model's optimizer.
    """

    name = "uncertainty"
    needs: Needs = "values"

    def __init__(self, rate: float = 0.01) -> None:
        self.rate = rate
        self.log_variance: dict[str, float] = {}

    def weights(self, stated: Mapping[str, float]) -> dict[str, float]:
        return {
            name: weight * math.exp(-self.log_variance.get(name, 0.0))
            for name, weight in super().weights(stated).items()
        }

    def advance(
        self,
        stated: Mapping[str, float],
        values: Mapping[str, float],
        norms: Mapping[str, float],
    ) -> None:
        for name, value in _finite(values, stated):
            s = self.log_variance.get(name, 0.0)
            slope = 1.0 - math.exp(-s) * abs(value)
            self.log_variance[name] = s - self.rate * max(-1.0, min(1.0, slope))

    def state_dict(self) -> dict[str, Any]:
        return {"log_variance": dict(self.log_variance)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.log_variance = dict(state["log_variance"])


class GradNorm(Weighting):
    """`gradnorm`: weights such that slower terms pull harder (Chen et al. 2018).

    Target of a term: mean pull · r^alpha, r its loss relative to its first value over the mean of
    that ratio. The paper moves the weights additively; here their logarithms move, because the
    stated weights span six decades (1e-5 to 10). The fixed point is the same. The sum of the
    weights stays that of the stated ones.
    """

    name = "gradnorm"
    needs: Needs = "norms"

    def __init__(self, alpha: float = 0.5, rate: float = 0.1) -> None:
        self.alpha, self.rate = alpha, rate
        self.log_factor: dict[str, float] = {}
        self.first: dict[str, float] = {}

    def weights(self, stated: Mapping[str, float]) -> dict[str, float]:
        active = super().weights(stated)
        moved = {n: w * math.exp(self.log_factor.get(n, 0.0)) for n, w in active.items()}
        back = sum(active.values()) / max(sum(moved.values()), 1e-30)
        return {name: weight * back for name, weight in moved.items()}

    def advance(
        self,
        stated: Mapping[str, float],
        values: Mapping[str, float],
        norms: Mapping[str, float],
    ) -> None:
        losses = dict(_finite(values, stated))
        for name, value in losses.items():
            if value:
                self.first.setdefault(name, abs(value))
        usable = [n for n, g in norms.items() if n in losses and n in self.first and g > 0]
        if len(usable) < 2:
            return
        weights = self.weights(stated)
        pulls = {name: weights[name] * norms[name] for name in usable}
        mean = sum(pulls.values()) / len(pulls)
        ratio = {name: abs(losses[name]) / self.first[name] for name in usable}
        mean_ratio = sum(ratio.values()) / len(ratio)
        for name in usable:
            target = mean * max(ratio[name] / max(mean_ratio, 1e-30), 1e-6) ** self.alpha
            gap = math.log(pulls[name] / target)
            step = self.rate * max(-1.0, min(1.0, gap))
            self.log_factor[name] = self.log_factor.get(name, 0.0) - step

    def state_dict(self) -> dict[str, Any]:
        return {"log_factor": dict(self.log_factor), "first": dict(self.first)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.log_factor, self.first = dict(state["log_factor"]), dict(state["first"])


class DynamicAverage(Weighting):
    """`dwa`: terms that fall more slowly weigh more (Liu et al. 2019).

    r = mean loss of the last window over that of the window before; factor = K · softmax(r / T).
    A spike can make r as large as a float goes: it counts as a ratio of at most 10.
    """

    name = "dwa"
    needs: Needs = "values"

    def __init__(self, window: int = 100, temperature: float = 2.0) -> None:
        self.window, self.temperature = window, temperature
        self.steps = 0
        self.sums: dict[str, tuple[float, int]] = {}
        self.means: list[dict[str, float]] = []

    def weights(self, stated: Mapping[str, float]) -> dict[str, float]:
        active = super().weights(stated)
        if len(self.means) < 2:
            return active
        before, last = self.means
        known = [name for name in active if before.get(name) and name in last]
        if not known:
            return active
        ratio = {name: min(abs(last[name] / before[name]), LARGEST_RATIO) for name in known}
        grown = {name: math.exp(ratio[name] / self.temperature) for name in known}
        summed = sum(grown.values())
        return {
            name: weight * (len(known) * grown[name] / summed if name in grown else 1.0)
            for name, weight in active.items()
        }

    def advance(
        self,
        stated: Mapping[str, float],
        values: Mapping[str, float],
        norms: Mapping[str, float],
    ) -> None:
        for name, value in _finite(values, stated):
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = (total + value, count + 1)
        self.steps += 1
        if self.steps % self.window == 0:
            means = {name: total / count for name, (total, count) in self.sums.items()}
            self.means = [*self.means, means][-2:]
            self.sums = {}

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "sums": dict(self.sums), "means": list(self.means)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.steps, self.means = int(state["steps"]), list(state["means"])
        self.sums = {name: (total, count) for name, (total, count) in state["sums"].items()}


WEIGHTINGS: dict[str, Callable[[], Weighting]] = {
    kind.name: kind
    for kind in (
        Weighting,
        Importance,
        RunningScale,
        Uncertainty,
        GradNorm,
        DynamicAverage,
    )
}


def _finite(values: Mapping[str, float], stated: Mapping[str, float]) -> list[tuple[str, float]]:
    """Values of weighted terms that can be learned from; a NaN must not reach a weight."""
    return [
        (name, value) for name, value in values.items() if stated.get(name) and math.isfinite(value)
    ]

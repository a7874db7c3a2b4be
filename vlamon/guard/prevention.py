"""The rungs of the ladder that act before an update: clip an outlier's gradient, skip its update.

Loss and gradient norm are compared with a moving mean and deviation of their logarithms. Outliers
enter these only up to the limit, so that a spike does not hide the next one. All of it stays on the
device and is not waited for. What one rank sees holds on all ranks, by the one reduction that keeps
non-finite numbers from the weights.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from vlamon.guard import collectives
from vlamon.guard.gate import finite_here, gradient_norm, plain_finite, whole
from vlamon.guard.ledger import Ledger
from vlamon.guard.optimizers import gradients
from vlamon.guard.out_of_memory import NoMemory, memory_for
from vlamon.guard.settings import Rung
from vlamon.guard.state.tree import local
from vlamon.guard.values import Gate, Value
from vlamon.guard_modes import GUARD_MODES

WARM = 32
"""Steps that are watched before a rung acts."""
DECAY = 0.97
"""Of the moving mean and deviation, as ZClip's."""
FAR = 6.0
"""Deviations from the mean beyond which a number is an outlier, if the ratio is reached too."""
NORM_RATIO, LOSS_RATIO = 2.0, 2.5
TOO_FAR = 10.0
"""Times the mean beyond which a gradient is skipped, not clipped, where the ladder has both."""
FLOOR = 0.05
"""Least deviation, so that a level which hardly moves has no outliers."""


class Prevention:
    """Examines every update before it is made."""

    def __init__(
        self,
        ladder: Sequence[Rung],
        optimizers: Sequence[Optimizer],
        weights: Callable[[], Mapping[str, float]],
        ledger: Ledger,
        in_pieces: bool = False,
    ) -> None:
        """`in_pieces`: gradients are a rank's shards and do not say so (FSDP1)."""
        self._clips, self._skips = "clip" in ladder, "skip" in ladder
        self._optimizers = optimizers
        self._weights = weights
        self._ledger = ledger
        self._in_pieces = in_pieces
        self._levels: list[torch.Tensor] = []
        """Mean, deviation and count of log norm and log loss; one table for each call of a step,
        since gradients that are summed over micro-batches grow from call to call."""
        self._call = 0
        self._skipped: torch.Tensor | None = None
        """Whether an earlier call of this step was an outlier."""
        self._absence_reported = False
        self._too_late = any(getattr(each, "steps_in_backward", False) for each in optimizers)
        """Whether the update has been made when it could be examined."""
        self._abstention = torch.ones(3)
        """The vote of a rank that has no memory to look: as if there were no guard."""
        self._lack = ""
        """Why an update of this step was not examined."""
        self._lack_reported = False

    @property
    def watches(self) -> bool:
        """Whether the ladder has a rung of these."""
        return self._clips or self._skips

    def state_dict(self) -> dict[str, Any]:
        """The usual levels: a replay must meet them as they were, a resume not learn them again."""
        return {"levels": list(self._levels)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put them back."""
        home = self._levels[0].device if self._levels else None
        self._levels = [levels.to(home, copy=True) for levels in state["levels"]]
        self._call, self._skipped = 0, None

    @property
    def acts(self) -> bool:
        """Whether it may change an update: not in a mode that only reports."""
        return self._awake and not self._too_late

    @property
    def _awake(self) -> bool:
        return self.watches and GUARD_MODES[self._ledger.mode].acts

    def examine(self, values: Mapping[str, Value]) -> Gate:
        """What is known of the coming update, the same on every rank; gradients may be clipped.

        Where memory lacks the update is made as it would be without a guard.
        """
        if self._too_late:
            return Gate()
        alone = collectives.world() == 1
        if alone and not self.acts and not plain_finite(values):
            return Gate(False, False)
        try:
            with memory_for("a look at the gradients"):
                mine = self._vote(values) if self.acts else finite_here(self._optimizers, values)
                if alone:
                    return self._agreed(mine)
        except NoMemory as error:
            self._lack = str(error)
            if alone:
                sound = plain_finite(values)
                return Gate(sound, sound)
            mine = self._abstention if self.acts else self._abstention[0]
        return self._agreed(mine)

    def _agreed(self, mine: torch.Tensor) -> Gate:
        """What the ranks say together; the others wait for this one, so nothing is left out."""
        if not self.acts:
            verdict = collectives.on_all_ranks(mine)
            return Gate(verdict, verdict)
        fine, kept, factor = collectives.least_on_all_ranks(mine).unbind()
        gate = Gate(fine.bool(), fine.bool() & self._unless_skipped(kept.bool()), factor)
        if self._clips:
            self._multiply(factor)
        return gate

    def _vote(self, values: Mapping[str, Value]) -> torch.Tensor:
        """Whether numbers are finite, whether the update is made, and the gradients' factor."""
        norm = self._norm()
        here = finite_here(self._optimizers, {**values, "grad_norm": norm})
        seen = torch.stack([norm, self._loss(values, norm)]).log()
        levels = self._levels_of_call(seen)
        above, limit = seen - levels[0], FAR * levels[1].clamp_min(FLOOR)
        # Filled on the device: a copy from the host would wait.
        ratios = torch.stack([norm.new_full((), math.log(r)) for r in (NORM_RATIO, LOSS_RATIO)])
        # Comparing with NaN, as of a loss below zero, is false: no outlier.
        known = torch.isfinite(seen) & (levels[2] >= WARM)
        outlier = known & (above > limit) & (above > ratios)
        skip = self._skips & (outlier[1] | (outlier[0] & ~self._clippable(above[0])))
        factor = torch.where(outlier[0] & ~skip, (-above[0]).exp(), 1.0)
        if not self._clips:
            factor = torch.ones_like(factor)
        self._learn(levels, seen, above, limit, here)
        return torch.stack([here.to(seen), (~skip).to(seen), factor])

    def close_step(self) -> str:
        """A step is over. Says, once, that its updates were not examined."""
        examined, self._call, self._skipped = self._call, 0, None
        lack, self._lack = self._lack, ""
        if lack:
            reported, self._lack_reported = self._lack_reported, True
            return "" if reported else f"the update was not examined: {lack}"
        if self._lack_reported:
            self._lack_reported = False
            return "updates are examined again"
        if examined or self._absence_reported or not self._awake:
            return ""
        self._absence_reported = True
        if self._too_late:
            return "the rungs clip and skip of the ladder do nothing: backward makes the update"
        return "the rungs clip and skip of the ladder act in Guard.check, which was not called"

    def _clippable(self, above: torch.Tensor) -> torch.Tensor:
        within = above <= math.log(TOO_FAR)
        return within if self._clips else torch.zeros_like(within)

    def _unless_skipped(self, kept: torch.Tensor) -> torch.Tensor:
        """A bad micro-batch is in the sum from then on: its whole step is skipped."""
        kept = kept if self._skipped is None else kept & ~self._skipped
        self._skipped = ~kept
        return kept

    def _norm(self) -> torch.Tensor:
        norms = [whole(gradient_norm(optimizer)).float() for optimizer in self._optimizers]
        norm = torch.linalg.vector_norm(torch.stack(norms)) if len(norms) > 1 else norms[0]
        return collectives.summed(norm.square()).sqrt() if self._in_pieces else norm

    def _loss(self, values: Mapping[str, Value], norm: torch.Tensor) -> torch.Tensor:
        """The weighted total of the losses."""
        weights = self._weights()
        named = [name for name in values if name in weights] or list(values)
        total = torch.zeros_like(norm)
        for name in named:
            value = values[name]
            if value is None or name == "grad_norm":
                continue
            if isinstance(value, torch.Tensor):
                value = whole(value.detach()).reshape(()).to(norm)
            total = total + weights.get(name, 1.0) * value
        return total

    def _levels_of_call(self, seen: torch.Tensor) -> torch.Tensor:
        self._call += 1
        if self._levels and self._levels[0].device != seen.device:  # after a resume
            self._levels = [levels.to(seen.device) for levels in self._levels]
        if len(self._levels) < self._call:
            self._levels.append(torch.zeros(3, 2, dtype=seen.dtype, device=seen.device))
        return self._levels[self._call - 1]

    def _learn(
        self,
        levels: torch.Tensor,
        seen: torch.Tensor,
        above: torch.Tensor,
        limit: torch.Tensor,
        here: torch.Tensor,
    ) -> None:
        mean, deviation, count = levels
        usual = torch.where(count >= WARM, torch.minimum(above, limit), above)
        # A plain mean at first: the first value is no level yet.
        weight = torch.maximum(1 / (count + 1), torch.full_like(count, 1 - DECAY))
        spread = deviation + weight * (1.25 * usual.abs() - deviation)
        new = torch.stack(
            [mean + weight * usual, torch.where(count > 0, spread, deviation), count + 1]
        )
        self._levels[self._call - 1] = torch.where(torch.isfinite(seen) & here, new, levels)

    @torch.no_grad()
    def _multiply(self, factor: torch.Tensor) -> None:
        """Multiply all gradients; on a CPU only where there is something to clip.

        Elsewhere by 1 as well, which changes no bit and spares the wait.
        """
        if factor.device.type == "cpu" and float(factor) == 1.0:
            return
        held = [local(each) for each in itertools.chain(*map(gradients, self._optimizers))]
        # Every factor first: a lack of memory must not leave some gradients as they were.
        factors = [factor.to(gradient.device) for gradient in held]
        for gradient, each in zip(held, factors, strict=True):
            gradient.mul_(each)

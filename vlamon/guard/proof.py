"""Proves whether a state that is too young to be trusted is a good one to go on from.

A snapshot from right before a fault costs a few steps, a trusted one about a hundred. But the
weights may have gone wrong an update before the loss showed it. So the losses of the last good
batches are measured on the state once more, and must be what they were.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from vlamon.guard import collectives
from vlamon.guard.autopsy import Probe
from vlamon.guard.state.capture import TrainingState
from vlamon.guard.state.owned import LiveTensors
from vlamon.guard.state.tree import local

INSTANT = 12
"""Steps since the onset up to which an explosion is one that the nearest snapshot may answer."""
GRACE = 4
"""Steps before the onset that must lie behind a snapshot where nothing can be measured."""
HIGHER = 1.5
"""A loss that many times what it was on the same batch is another one."""

Values = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class GoodBatch:
    """A batch whose losses were calm."""

    step: int
    batch: Any
    values: Values


@dataclass(frozen=True, slots=True)
class Prover:
    """Examines states that were put in force."""

    state: TrainingState
    probe: Probe | None
    good: Sequence[GoodBatch]
    """The last good batches; none where the script hands over no batches."""
    history: Iterable[tuple[int, Values]]
    """The last steps with their losses."""
    minor: Callable[[str, float], bool]
    """Whether a loss is too small a part of the total to matter."""

    def flaw(self, step: int, onset: int) -> str:
        """Why the state of `step`, which is in force, is none to go on from; empty if it is good.

        Called by all ranks; one that finds a flaw finds it for all.
        """
        try:
            found = self._flaw(step, onset)
        except Exception as error:  # a probe is a user's
            found = f"it could not be measured: {type(error).__name__}: {error}"
        return next((said for said in collectives.everyone(found) if said), "")

    def _flaw(self, step: int, onset: int) -> str:
        if not all_finite(self.state):
            return "a parameter or a moment is not finite"
        good = [each for each in self.good if each.step < onset]
        if self.probe is None or not good:
            near = onset - 1 - step < GRACE
            return f"it is less than {GRACE} steps from the onset" if near else ""
        then = self._levels_at(step)
        for each in good:
            for name, now in self.probe(each.batch).values.items():
                was = each.values.get(name)
                if was is None:
                    continue
                usual = max(was, then.get(name, 0.0))
                higher = not math.isfinite(now) or (usual > 0 and now > HIGHER * usual)
                if higher and not self.minor(name, now):
                    return f"{name} of the batch of step {each.step} is {now:.4g}, it was {was:.4g}"
        return ""

    def _levels_at(self, step: int) -> dict[str, float]:
        """The highest losses around a step: early on they fall steeply, and that is no flaw."""
        found: dict[str, float] = {}
        for at, values in self.history:
            if abs(at - step) <= 2:
                for name, value in values.items():
                    if value is not None and math.isfinite(value):
                        found[name] = max(value, found.get(name, value))
        return found


def all_finite(state: TrainingState) -> bool:
    """Whether parameters and moments are; buffers may hold infinities (masks)."""
    checks = [torch.isfinite(local(t)).all().cpu() for t in _trained(state)]
    return bool(torch.stack(checks).all()) if checks else True


def _trained(state: TrainingState) -> Iterator[torch.Tensor]:
    for part in state.everything().values():
        if isinstance(part, LiveTensors):
            yield from (t for t in part.tensors().values() if t.requires_grad)
        elif isinstance(part, nn.Module):
            yield from (parameter.detach() for parameter in part.parameters())
        elif isinstance(part, Optimizer):
            for moments in part.state.values():
                yield from (m for m in moments.values() if isinstance(m, torch.Tensor))

"""A factor on the learning rate, whatever schedules it.

A schedule computes a rate from the one before (cosine), from its start (lambda) or from bounds of
its own (one cycle), schedules nest, and some loops write the rate themselves. So the planned rates
are left alone: the factor is on them while `optimizer.step()` runs and off again, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from vlamon.guard.optimizers import stepping

Rate = float | torch.Tensor


class LrScale:
    """What the planned rates of some optimizers are multiplied by while they step."""

    def __init__(
        self, optimizers: Sequence[Optimizer], set_by: Callable[[float], Any] | None = None
    ) -> None:
        """`set_by` puts the factor on a schedule of one's own; the optimizers are left alone."""
        self._optimizers = [stepping(optimizer) for optimizer in optimizers]
        self._set_by = set_by
        self._hooked = False
        self._planned: dict[int, list[tuple[Rate, Rate]]] = {}
        """Of an optimizer that steps: planned rate and rate in force, group by group."""
        self.value = 1.0
        """The factor; as long as it is 1, nothing is touched."""

    def set(self, value: float) -> None:
        """Put this factor on every step from now on; ValueError where an optimizer allows none."""
        if self._set_by is not None:
            self._set_by(value)
            self.value = value
            return
        if value != 1.0 and not self._hooked:
            for optimizer in self._optimizers:
                try:
                    optimizer.register_step_pre_hook(self._put_on)
                    optimizer.register_step_post_hook(self._take_off)
                except AttributeError:
                    name = type(optimizer).__name__
                    raise ValueError(
                        f"{name} takes no hooks around its step: give the guard set_lr_scale"
                    ) from None
            self._hooked = True
        self.value = value

    @torch.no_grad()
    def _put_on(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        self._take_off(optimizer)  # should the step before have raised
        if self.value == 1.0:
            return
        rates: list[tuple[Rate, Rate]] = []
        for group in optimizer.param_groups:
            planned = group["lr"]
            if isinstance(planned, torch.Tensor):
                rates.append((planned.clone(), planned))
                planned.mul_(self.value)
            else:
                group["lr"] = planned * self.value
                rates.append((planned, group["lr"]))
        self._planned[id(optimizer)] = rates

    @torch.no_grad()
    def _take_off(self, optimizer: Optimizer, args: object = None, kwargs: object = None) -> None:
        rates = self._planned.pop(id(optimizer), ())
        for group, (planned, in_force) in zip(optimizer.param_groups, rates, strict=False):
            if isinstance(planned, torch.Tensor):
                group["lr"].copy_(planned)  # in place: a captured graph knows this tensor
            elif group["lr"] == in_force:  # else somebody has written a rate of their own
                group["lr"] = planned

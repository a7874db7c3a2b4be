"""The guard in a loop that a framework owns, driven by the hooks around the optimizer's step.

A rollback puts back weights, optimizers, scaler and random streams. The framework's counter, its
schedule and its data go on: the batches that exploded lie behind, and no step number comes twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.optim import Optimizer

from vlamon.detect.components import is_loss
from vlamon.emitter import Emitter
from vlamon.guard_modes import GUARD_MODES

if TYPE_CHECKING:
    from vlamon.guard import GuardSettings


def checked_mode(guard: str | GuardSettings) -> str | GuardSettings:
    """What a callback was given as `guard`; ValueError where it is no mode."""
    if isinstance(guard, str) and guard not in GUARD_MODES:
        raise ValueError(f"guard {guard!r}: choose one of {', '.join(GUARD_MODES)}")
    return guard


class HookedGuard:
    """Judges before each update and goes back behind it."""

    def __init__(
        self,
        guard: str | GuardSettings,
        model: nn.Module,
        optimizers: Sequence[Any],
        *,
        schedulers: Sequence[Any] = (),
        emitter: Emitter | None = None,
        run_dir: str | None = None,
        weights: Mapping[str, float] | None = None,
        finished: int = 0,
    ) -> None:
        """`finished`: steps that lie behind, which are numbered from 1.

        TypeError where the state of an optimizer cannot be copied.
        """
        from vlamon.guard import Guard, GuardSettings
        from vlamon.guard.optimizers import stepping

        settings = GuardSettings(mode=guard) if isinstance(guard, str) else guard
        self._optimizers = [stepping(each) for each in optimizers]
        self._scalers = [getattr(each, "scaler", None) for each in optimizers]
        scalers = {f"scaler.{i}": s for i, s in enumerate(self._scalers) if s is not None}
        self._weights = dict(weights or {})
        self._guard = Guard(
            model,
            self._optimizers,
            schedulers=schedulers,
            emitter=emitter,
            run_dir=run_dir,
            settings=settings,
            weights=weights,
            extras=scalers,
        )
        self._guard.start(step=finished + 1)

    @property
    def stopped(self) -> bool:
        """Whether the training is to end."""
        return self._guard.stopped

    def before_update(self, step: int, row: Mapping[str, Any]) -> None:
        """Judge the losses of a step; where a number is not finite, its update does nothing."""
        if not self._guard.check(step, **losses(row, self._weights)):
            for optimizer, scaler in zip(self._optimizers, self._scalers, strict=True):
                withhold(optimizer, scaler)

    def after_update(self, step: int) -> None:
        """Close a step, and answer an explosion."""
        self._guard.after_step(step, goes_back=False)

    def close(self) -> None:
        """Wait for what is being written."""
        self._guard.close()


def losses(row: Mapping[str, Any], weights: Mapping[str, float]) -> dict[str, Any]:
    """What a guard judges of a row: losses by their weights or names, one number each."""
    return {
        name: value
        for name, value in row.items()
        if (name in weights or is_loss(name)) and not isinstance(value, list)
    }


def withhold(optimizer: Optimizer, scaler: Any = None) -> None:
    """Make the coming `step()` do nothing: an optimizer passes over what has no gradient."""
    if scaler is not None and scaler.is_enabled():
        # Its step insists on having looked for infinities; it raises where it has done so already.
        with contextlib.suppress(RuntimeError):
            scaler.unscale_(optimizer)
    optimizer.zero_grad(set_to_none=True)

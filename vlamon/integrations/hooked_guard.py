"""The guard in a loop that a framework owns, driven by the hooks around the optimizer's step.

A rollback puts back weights, optimizers, scaler and random streams. The framework's counter, its
schedule and its data go on: the batches that exploded lie behind, and no step number comes twice.
"""

from __future__ import annotations

import contextlib
import logging
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
    """What a callback was given as `guard`; ValueError where it is not a mode."""
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
        scaler: Any = None,
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
        self._scaler = scaler
        self._weights = dict(weights or {})
        self._guard = Guard(
            model,
            self._optimizers,
            schedulers=schedulers,
            emitter=emitter,
            run_dir=run_dir,
            settings=settings,
            weights=weights,
            extras={} if scaler is None else {"scaler": scaler},
        )
        self._guard.start(step=finished + 1)

    @property
    def stopped(self) -> bool:
        """Whether the training is to end."""
        return self._guard.stopped

    def before_update(self, step: int, row: Mapping[str, Any]) -> None:
        """Judge the losses of a step; where a number is not finite, its update does nothing."""
        if not self._guard.check(step, **losses(row, self._weights)):
            for optimizer in self._optimizers:
                withhold(optimizer, self._scaler)

    def after_update(self, step: int, row: Mapping[str, Any] | None = None) -> bool:
        """Close a step, and answer an explosion: whether it was answered by a rollback.

        `row` holds the losses that were not known before the update.
        """
        attempt = self._guard.ledger.attempt
        self._guard.after_step(step, goes_back=False, **losses(row or {}, self._weights))
        return self._guard.ledger.attempt != attempt

    def close(self) -> None:
        """Wait for what is being written."""
        self._guard.close()


def begin(
    guard: str | GuardSettings,
    model: nn.Module,
    optimizers: Sequence[Any],
    *,
    takes_engines: bool = False,
    **options: Any,
) -> HookedGuard | None:
    """The guard that a callback was asked for; None where it is off or cannot be had.

    `takes_engines`: whether the framework was tried under DeepSpeed. What cannot be guarded is
    reported and trains unguarded.
    """
    if guard == "off":
        return None
    emitter = options.get("emitter")
    try:
        if not takes_engines:
            refuse_engines(optimizers)
        return HookedGuard(guard, model, optimizers, **options)
    except TypeError as error:
        logging.getLogger("vlamon.guard").error("this training has no guard: %s", error)
        if emitter is not None:
            emitter.event("warn", text=f"no guard: {error}", severity="error")
        return None


def refuse_engines(optimizers: Sequence[Any]) -> None:
    """TypeError where an optimizer is a DeepSpeed engine's."""
    from vlamon.guard.optimizers import checked
    from vlamon.guard.state.zero import ZeroOptimizer

    if any(isinstance(each, ZeroOptimizer) for each in checked(list(optimizers))):
        raise TypeError("DeepSpeed was not tested under this framework: guard the engine itself")


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

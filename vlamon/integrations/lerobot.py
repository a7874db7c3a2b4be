"""LeRobot: every batch of `update_policy`, with all that the policy returns, and a guard around it.

The plug-in `lerobot-policy-vlamon` (packaging/lerobot) is imported by LeRobot itself and calls
`watch_lerobot()`; `vlamon run -- lerobot-train …` needs no plug-in. In a script of one's own:

    from vlamon.integrations.lerobot import watch_updates
    watch_updates(lerobot.scripts.lerobot_train, guard="auto")
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from vlamon.emitter import Emitter
from vlamon.emitter.places import say
from vlamon.guard_modes import GUARD_MODES
from vlamon.integrations.ambient import take_notes
from vlamon.integrations.components import components, read
from vlamon.integrations.sink import OwnEmitter, Sink

if TYPE_CHECKING:
    from vlamon.guard import GuardSettings
    from vlamon.integrations.hooked_guard import HookedGuard

METERS = ("loss", "grad_norm", "lr", "update_s", "dataloading_s")
"""Meters of LeRobot's tracker that hold this batch's value when `update_policy` returns."""
SCRIPT = "lerobot.scripts.lerobot_train"
GUARD = "VLAMON_GUARD"
"""Environment variable with the mode of the plug-in's guard."""
WEIGHTS = "VLAMON_WEIGHTS"
"""Environment variable with the weights of the losses: `l1_loss=1,kld_loss=10`."""


def watch_updates(
    module: ModuleType,
    sink: Sink | None = None,
    *,
    path: str | None = "auto",
    run_dir: str | None = None,
    weights: Mapping[str, float] | None = None,
    guard: str | GuardSettings = "off",
) -> None:
    """Send a row for each call of `module.update_policy`, and guard it if asked.

    The journal goes into LeRobot's `output_dir` unless `run_dir` says otherwise. A module that is
    watched already stays as it is.
    """
    if hasattr(module.update_policy, "__vlamon__"):
        return
    training = _Training(sink, path, run_dir, weights, guard)
    configure = getattr(module, "make_optimizer_and_scheduler", None)
    if configure is not None:
        module.make_optimizer_and_scheduler = training.configured(configure)  # type: ignore[attr-defined]
    module.update_policy = training.updating(module.update_policy)  # type: ignore[attr-defined]


def watch_lerobot(sink: Sink | None = None) -> None:
    """Watch LeRobot's training script in this process, started as a command, by `-m` or as a file.

    $VLAMON_GUARD and $VLAMON_WEIGHTS say what `guard` and `weights` are.
    """
    guard, weights = _environment()
    for name in (SCRIPT, "__main__"):
        module = sys.modules.get(name)
        if module is not None and _trains(module):
            watch_updates(module, sink, weights=weights, guard=guard)


def _trains(module: ModuleType) -> bool:
    """Whether it is the script; the module that runs is called `__main__`, whatever its name."""
    update = getattr(module, "update_policy", None)
    return callable(update) and hasattr(module, "make_optimizer_and_scheduler")


def _environment() -> tuple[str, dict[str, float] | None]:
    guard = os.environ.get(GUARD, "").strip() or "off"
    if guard not in GUARD_MODES:
        say(f"${GUARD} is {guard!r}, and this training has no guard: {', '.join(GUARD_MODES)}")
        guard = "off"
    weights: dict[str, float] = {}
    for part in filter(None, os.environ.get(WEIGHTS, "").split(",")):
        name, _, number = part.partition("=")
        try:
            weights[name.strip()] = float(number)
        except ValueError:
            say(f"${WEIGHTS} has {part!r}, which is not NAME=NUMBER, such as l1_loss=1")
    return guard, weights or None


class _Training:
    """One run of LeRobot's loop, which owns counter, schedule and data."""

    def __init__(
        self,
        sink: Sink | None,
        path: str | None,
        run_dir: str | None,
        weights: Mapping[str, float] | None,
        guard: str | GuardSettings,
    ) -> None:
        self._sink = sink
        self._path = path
        self._run_dir = run_dir
        self._weights = weights
        self._mode = guard
        self._config: Any = None
        self._guard: HookedGuard | None = None
        self._begun = False
        self._step = 0

    def configured(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Remember the configuration, which `update_policy` does not get."""

        @functools.wraps(original)
        def make_optimizer_and_scheduler(cfg: Any, *args: Any, **given: Any) -> Any:
            self._config = cfg
            return original(cfg, *args, **given)

        return make_optimizer_and_scheduler

    def updating(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """The update, with the guard around its optimizer's step and a row behind it."""
        signature = inspect.signature(original)

        @functools.wraps(original)
        def update_policy(*args: Any, **given: Any) -> Any:
            if not self._begun:
                self._begin(signature.bind(*args, **given).arguments)
            result = original(*args, **given)
            self._updated(*(result if isinstance(result, tuple) else (result, None)))
            return result

        update_policy.__vlamon__ = True  # type: ignore[attr-defined]
        return update_policy

    def _begin(self, given: Mapping[str, Any]) -> None:
        self._begun = True
        self._step = int(getattr(given.get("train_metrics"), "steps", 0) or 0)
        if self._sink is None:
            self._sink = OwnEmitter(self._emitter())
        if self._mode == "off":
            return
        # They need torch, which LeRobot has loaded by now.
        from vlamon.guard.optimizers import stepping
        from vlamon.integrations.hooked_guard import begin

        optimizer, scheduler = given["optimizer"], given.get("lr_scheduler")
        self._guard = begin(
            self._mode,
            given["policy"],
            [optimizer],
            schedulers=[] if scheduler is None else [scheduler],
            scaler=getattr(optimizer, "scaler", None),
            emitter=self._sink.emitter,
            run_dir=self._folder(),
            weights=self._weights,
            finished=self._step,
        )
        if self._guard is not None:
            stepping(optimizer).register_step_pre_hook(self._before_update)

    def _emitter(self) -> Emitter:
        config = self._config
        return Emitter(
            self._path,
            run=str(getattr(config, "job_name", None) or ""),
            run_dir=self._folder(),
            weights=self._weights,
            total_steps=getattr(config, "steps", None),
        )

    def _folder(self) -> str | None:
        folder = self._run_dir or getattr(self._config, "output_dir", None)
        return None if folder is None else str(folder)

    def _before_update(self, *_: Any) -> None:
        """The gradients are there; the loss is known once `update_policy` has returned."""
        if self._guard is not None:
            self._guard.before_update(self._step + 1, {})

    def _updated(self, tracker: Any, output: Any) -> None:
        steps = getattr(tracker, "steps", None)
        self._step = self._step + 1 if steps is None else int(steps) + 1
        values: dict[str, Any] = {}
        assert self._sink is not None
        try:
            values = row(tracker, output)
            self._sink.add("lerobot", values, self._step)
        except Exception as error:  # a policy's output is anybody's; the training goes on
            if self._sink.emitter is not None:
                self._sink.emitter.swallow(f"the policy's output cannot be read: {error}"[:200])
        if self._guard is not None:
            self._guard.after_update(self._step, values)
            if self._guard.stopped:  # on every rank at the same step; LeRobot's loop has no flag
                say(f"step {self._step}: the training ends here: its guard or an operator said so")
                sys.exit(0)


def row(tracker: Any, output: Any) -> dict[str, Any]:
    """The policy's output, lists kept, and the meters of this batch."""
    values = components(output or {})
    for name in METERS:
        meter = getattr(tracker, name, None)
        number = read(getattr(meter, "val", None))
        if number is not None:
            values.setdefault(name, number)
    return {**values, **take_notes()}

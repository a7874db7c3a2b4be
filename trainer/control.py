"""Orders from outside, executed between two steps."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainer.objectives import ObjectiveError

if TYPE_CHECKING:
    from trainer.run import Run
    from vlamon.emitter import PendingCommand


class OrderRefused(ValueError):
    """An order that cannot be executed; the sentence goes back to whoever gave it."""


def obey(run: Run) -> str:
    """Execute what was ordered since the last step; `stop` when the training is to end.

    With several ranks the orders of rank 0 reach all of them, so that no rank goes another way.
    """
    paused = False
    while True:
        ordered = list(run.emitter.commands()) if run.emitter is not None else []
        shared = run.ranks.share([(c.name, dict(c.args)) for c in ordered])
        assert isinstance(shared, list)
        for index, (name, args) in enumerate(shared):
            command = ordered[index] if ordered else None
            if name in ("pause", "resume"):
                paused = name == "pause"
                _tell_pause(run, command, paused)
            elif name == "stop":
                if command is not None:
                    command.done({"step": run.progress.step})
                return "stop"
            else:
                _execute(run, command, name, args)
        if not paused:
            return "go"
        time.sleep(0.05)


def _tell_pause(run: Run, command: PendingCommand | None, paused: bool) -> None:
    if run.emitter is None or command is None:
        return
    run.emitter.status(state="paused" if paused else "training")
    run.emitter.event(
        "paused" if paused else "resumed",
        step=run.progress.step,
        text="paused by an operator" if paused else "resumed by an operator",
    )
    command.done({"step": run.progress.step})


def _execute(run: Run, command: PendingCommand | None, name: str, args: Mapping[str, Any]) -> None:
    try:
        result = _result(run, name, args)
    except (OrderRefused, ObjectiveError) as error:
        if command is not None:
            command.refuse(str(error))
        return
    if command is not None:
        command.done(result)


def _result(run: Run, name: str, args: Mapping[str, Any]) -> dict[str, Any]:
    step = run.progress.step
    if name == "checkpoint":
        return {"step": step, "path": str(run.checkpoint())}
    if name == "set":
        return change_setting(run, str(args.get("name", "")), args.get("value"))
    if name == "note":
        run.note(str(args.get("text", "")), step)
        return {"step": step}
    raise OrderRefused(f"this training knows no order {name!r}")


def change_setting(run: Run, name: str, value: object) -> dict[str, Any]:
    """`set`: lr_scale, clip_grad, or a loss weight by its name."""
    if name in ("lr_scale", "lr scale"):
        before, run.learning_rate.scale = run.learning_rate.scale, _positive(name, value)
    elif name == "clip_grad":
        before, run.clip_grad = run.clip_grad, _positive(name, value, zero=True)
    else:
        try:
            before = run.optimisation.objectives.set(name, value)
        except ObjectiveError as error:
            raise OrderRefused(f"{error}, lr_scale and clip_grad") from None
        if run.emitter is not None:
            run.emitter.set_weights(run.optimisation.objectives.weights)
    return {"step": run.progress.step, "name": name, "before": before, "value": value}


def _positive(name: str, value: object, zero: bool = False) -> float:
    try:
        number = float(str(value))
    except ValueError:
        raise OrderRefused(f"{name} must be a number, not {value!r}") from None
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise OrderRefused(f"{name} must be a finite number above 0, not {value!r}")
    return number

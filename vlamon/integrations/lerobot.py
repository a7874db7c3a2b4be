"""LeRobot: every batch of `update_policy`, with all that the policy returns.

Two lines in front of LeRobot's own entry point, or none under `vlamon run`:

    from vlamon.integrations.lerobot import watch_updates
    watch_updates(lerobot.scripts.lerobot_train)
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from vlamon.emitter import Emitter
from vlamon.integrations.ambient import take_notes
from vlamon.integrations.components import components, read
from vlamon.integrations.sink import OwnEmitter, Sink

METERS = ("loss", "grad_norm", "lr", "update_s", "dataloading_s")
"""Meters of LeRobot's tracker that hold this batch's value when `update_policy` returns."""


def watch_updates(module: ModuleType, sink: Sink | None = None, **options: Any) -> None:
    """Send a row for each call of `module.update_policy`; `options` are those of the Emitter."""
    if sink is None:
        sink = OwnEmitter(Emitter(options.pop("path", "auto"), **options))
    target = sink
    original = module.update_policy
    steps = [0]

    @functools.wraps(original)
    def update_policy(*args: Any, **given: Any) -> Any:
        result = original(*args, **given)
        steps[0] += 1
        tracker, output = result if isinstance(result, tuple) else (result, None)
        step = getattr(tracker, "steps", None)
        target.add("lerobot", row(tracker, output), steps[0] if step is None else int(step) + 1)
        return result

    module.update_policy = update_policy  # type: ignore[attr-defined]


def row(tracker: Any, output: Any) -> dict[str, Any]:
    """The policy's output, lists kept, and the meters of this batch."""
    values = components(output or {})
    for name in METERS:
        meter = getattr(tracker, name, None)
        number = read(getattr(meter, "val", None))
        if number is not None:
            values.setdefault(name, number)
    return {**values, **take_notes()}

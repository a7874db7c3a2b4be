"""Events into the W&B or SwanLab run that the script has open: a rollback shows where a team looks.

What a tracker's call costs, its network included, is paid on a thread of its own. A tracker is
looked up among the modules that the script has imported, never imported.
"""

from __future__ import annotations

import math
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from vlamon.protocol.block import Block
from vlamon.records import Event, Record

PREFIX = "vlamon/"
"""Begins every name that is written; what taps see under it is not a metric of the script's."""
KINDS = ("explode", "rollback", "recovered", "paused", "resumed", "trainer_error")
LOUD = ("explode", "rollback", "paused", "trainer_error")
"""Kinds that are a W&B alert besides."""
LAST_CHANCE = 3.0
"""Seconds at the end for a tracker to take what waits."""

Tracker = Callable[[Event], bool]
"""Writes an event into the tracker's open run; returns whether there is one."""


class Annotating:
    """Takes a run's records from the sidecar; `observe` neither waits nor raises."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        """`warn` tells the monitors, once, why an event is not there."""
        self._warn = warn
        self._complained: set[str] = set()
        self._waiting: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="vlamon-annotate", daemon=True)
        self._thread.start()

    def observe(self, record: Record | Block) -> None:
        """Take one more record of the run; on the sidecar's thread."""
        if isinstance(record, Event) and record.kind in KINDS:
            self._waiting.put(record)

    def close(self) -> None:
        """Write what waits, for a few seconds at most."""
        self._waiting.put(None)
        self._thread.join(LAST_CHANCE)

    def _run(self) -> None:
        while (event := self._waiting.get()) is not None:
            found = [self._written(name, tracker, event) for name, tracker in TRACKERS.items()]
            if not any(found):
                self._complain("neither W&B nor SwanLab has a run open here")

    def _written(self, name: str, tracker: Tracker, event: Event) -> bool:
        try:
            return tracker(event)
        except Exception as error:  # a tracker's fault is no reason to end the other
            self._complain(f"{name} failed: {type(error).__name__}: {error}"[:200])
            return True

    def _complain(self, why: str) -> None:
        if why not in self._complained:
            self._complained.add(why)
            self._warn(f"events are not annotated: {why}")


def values_of(event: Event) -> dict[str, float]:
    """What a chart can show of an event: the loss that exploded, the step that was returned to."""
    named = {"explode": "value", "rollback": "to"}.get(event.kind, "")
    value = event.data.get(named)
    usable = isinstance(value, int | float) and math.isfinite(value)
    shown = float(value) if usable and value is not None else 1.0
    return {f"{PREFIX}{event.kind}": shown, f"{PREFIX}event_step": float(event.step)}


def _wandb(event: Event) -> bool:
    """Cells of the row that is open, so that no step of the script's moves; and an alert."""
    run: Any = getattr(sys.modules.get("wandb"), "run", None)
    if run is None:
        return False
    text = event.text or event.kind
    cells: Mapping[str, object] = {**values_of(event), f"{PREFIX}event": f"{event.kind}: {text}"}
    run.log(cells, commit=False)
    if event.kind in LOUD:
        level = "ERROR" if event.severity == "error" else "WARN"
        run.alert(f"vlamon: {event.kind} at step {event.step}", text, level=level)
    return True


def _swanlab(event: Event) -> bool:
    """Scalars and a text at the event's step: every name of SwanLab's has steps of its own."""
    module: Any = sys.modules.get("swanlab")
    if module is None or not module.has_run():
        return False
    step = max(event.step, 0)
    module.log(values_of(event), step=step)
    module.log({f"{PREFIX}event": module.Text(f"{event.kind}: {event.text}")}, step=step)
    return True


TRACKERS: Mapping[str, Tracker] = {"W&B": _wandb, "SwanLab": _swanlab}

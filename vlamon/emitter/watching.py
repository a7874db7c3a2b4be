"""Explosions of a run without a guard, reported by the run itself: `Emitter(watch=True)`.

It judges what the sidecar packs, on the sidecar's thread, with a monitor's own detectors, so that
the journal and late monitors have the events even if none was attached.
"""

from __future__ import annotations

from collections.abc import Sequence

from vlamon.detect.monitor import ExplosionMonitor
from vlamon.emitter.places import say
from vlamon.protocol import block as blocks
from vlamon.protocol.block import Block
from vlamon.records import Event, RunInfo, Status
from vlamon.safe_text import line

MODE = "watch"
"""What the status calls it, so that monitors do not judge a second time."""


class Watching:
    """Judges a run's blocks as they are packed."""

    def __init__(self, info: RunInfo) -> None:
        self._monitor = ExplosionMonitor()
        list(self._monitor.hear(info))
        list(self._monitor.hear(Status("training", -1, guard="off")))  # nobody else judges

    def hear(self, block: Block) -> Sequence[Event]:
        """The events that belong behind a block; an explosion is a line on stderr too."""
        events = list(self._monitor.hear(blocks.record(block)))
        for event in events:
            if event.kind == "explode":
                say(f"step {event.step}: explosion: {line(event.text)}")
        return events

"""Explosions of a run without a guard, reported by the run itself: `Emitter(watch=True)`.

It judges what the sidecar packs, on the sidecar's thread, with a monitor's own detectors and the
thresholds that the user's settings file gives every monitor, so that the journal and late monitors
have the events even if none was attached.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from vlamon.config import rules_in_force
from vlamon.detect.monitor import ExplosionMonitor
from vlamon.detect.rules import SpikeRules
from vlamon.emitter.places import say
from vlamon.protocol import block as blocks
from vlamon.protocol.block import Block
from vlamon.records import Event, RunInfo, Status
from vlamon.safe_text import line

MODE = "watch"
"""What the status calls it, so that monitors do not judge a second time."""


SETTINGS_WITHIN = 2.0
"""Seconds that the first batches wait for the settings file: a home may be on a dead server."""


class Watching:
    """Judges a run's blocks as they are packed."""

    def __init__(self, info: RunInfo, warn: Callable[[str], None]) -> None:
        """`warn` tells the monitors of a settings file that cannot be used."""
        self._info = info
        self._warn = warn
        self._rules: SpikeRules | None = None
        self._monitor: ExplosionMonitor | None = None
        self._loading = threading.Thread(target=self._load, name="vlamon-settings", daemon=True)
        self._loading.start()

    def _load(self) -> None:
        self._rules = rules_in_force(self._warn)

    def _begin(self) -> ExplosionMonitor:
        self._loading.join(SETTINGS_WITHIN)
        if self._rules is None:
            self._warn("the settings could not be read: the shipped thresholds judge")
        monitor = ExplosionMonitor(self._rules)
        list(monitor.observe(self._info))
        list(monitor.observe(Status("training", -1, guard="off")))  # nobody else judges
        return monitor

    def observe(self, block: Block) -> Sequence[Event]:
        """The events that belong behind a block; an explosion is a line on stderr too."""
        monitor = self._monitor = self._monitor or self._begin()
        events = list(monitor.observe(blocks.record(block)))
        for event in events:
            if event.kind == "explode":
                say(f"step {event.step}: explosion: {line(event.text)}")
        return events

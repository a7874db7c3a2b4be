"""Which events call a person: those that happen while one watches, not those out of history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vlamon.records import Event

RECENT = 30.0
"""Seconds of the trainer's clock within which an event that arrives counts as happening now."""

SKEW = 1800.0
"""Seconds that the watcher's clock may differ from the trainer's."""

LOUD = ("explode", "trainer_error")


def alarming(event: Event) -> bool:
    """Say whether a person should look: explosions, errors, and warnings."""
    return event.kind in LOUD or event.severity in ("warn", "error") or event.kind == "warn"


@dataclass(slots=True)
class Alerts:
    """Alerts since the last acknowledgement; reads each event once."""

    unseen: int = 0
    """Alarming live events that nobody has acknowledged."""
    _read: int = 0
    _ids: set[str] = field(default_factory=set)

    def hear(
        self, events: Sequence[Event], trainer_now: float, now: float, caught_up: bool
    ) -> list[Event]:
        """Give the events that are new and happen now.

        History is what arrives before the source has caught up, what is older than RECENT on the
        trainer's own clock (as after a reconnect), and what no clock's error explains any more.
        """
        fresh = []
        for event in events[self._read :]:
            if event.id in self._ids:
                continue
            self._ids.add(event.id)
            recent = event.time >= trainer_now - RECENT and abs(now - event.time) < SKEW
            if caught_up and recent:
                fresh.append(event)
                self.unseen += alarming(event)
        self._read = len(events)
        return fresh

    def acknowledge(self) -> int:
        """Take all alerts as seen; gives how many there were."""
        seen, self.unseen = self.unseen, 0
        return seen

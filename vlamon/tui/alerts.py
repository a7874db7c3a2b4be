"""Which events call a person: those that happen while one watches, not those out of history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vlamon.records import Event
from vlamon.tui.frame_context import run_name
from vlamon.tui.headline import Break, newest_break
from vlamon.tui.notices import Notice
from vlamon.tui.severity import LOUD, alarming
from vlamon.tui.widgets.events import sentence
from vlamon.tui.widgets.status_line import pulse_words

if TYPE_CHECKING:
    from vlamon.analysis.liveness import Alive
    from vlamon.tui.frame_context import FrameContext
    from vlamon.tui.host import Host

RECENT = 30.0
"""Seconds of the trainer's clock within which an event that arrives counts as happening now."""

SKEW = 1800.0
"""Seconds that the watcher's clock may differ from the trainer's."""


@dataclass(slots=True)
class Alerts:
    """Alerts since the last acknowledgement; reads each event once."""

    unseen: int = 0
    """Alarming live events that nobody has acknowledged."""
    _read: int = 0
    _ids: set[str] = field(default_factory=set)

    def new_events(
        self, events: Sequence[Event], trainer_now: float, now: float, caught_up: bool
    ) -> list[Event]:
        """Return the events that are new and happen now.

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
        """Take all alerts as seen; return how many there were."""
        seen, self.unseen = self.unseen, 0
        return seen


NOT_LIVE = ("waiting", "replay", "reconnecting", "failed", "ended")
"""Pulses during which what arrives is history."""


class WatchAlerts:
    """Calls a person when something breaks while one watches."""

    def __init__(self, host: Host, reading: Callable[[], bool]) -> None:
        self.alerts = Alerts()
        self.live: set[str] = set()
        """Ids of the explosions that happened while one watched."""
        self._host = host
        self._reading = reading
        self._opened = host.shell.monotonic()
        self._was_live = False
        self._alarmed = False
        self._acknowledged: set[str] = set()
        self._looked = 0
        """Events that were looked through for breaks: a noisy run has thousands of warnings."""
        self._newest: Event | None = None
        """The newest break among them."""

    def update(self, frame: FrameContext, newest: float) -> None:
        """Take in what is new; `newest` is the newest moment on the trainer's clock."""
        store = self._host.store
        for event in self.alerts.new_events(
            store.events, newest, frame.now, self._caught_up(frame.alive)
        ):
            if event.kind in LOUD:
                self.live.add(event.id)
                self._host.shell.alert(run_name(store), f"{event.kind}: {sentence(event)}")
        self._watch_pulse(frame.alive)

    def _caught_up(self, alive: Alive) -> bool:
        """Say whether what arrives now is news: the link lives and history has been read."""
        if alive.pulse in NOT_LIVE:
            return False
        if self._host.store.status is None:
            return self._host.shell.monotonic() - self._opened > 1.0
        return not self._reading()

    def _watch_pulse(self, alive: Alive) -> None:
        """Alert once when a run that was seen alive falls silent or its source fails."""
        if alive.pulse == "live":
            self._was_live, self._alarmed = True, False
        elif alive.alarming and self._was_live and not self._alarmed:
            self._alarmed = True
            self.alerts.unseen += 1
            self._host.shell.alert(run_name(self._host.store), pulse_words(alive)[1])

    def broken(self) -> Break | None:
        """Return the newest break until it is acknowledged; the caller holds the feed's lock."""
        events = self._host.store.events
        for event in events[self._looked :]:
            self._newest = event if event.kind in LOUD else self._newest
        self._looked = len(events)
        if self._newest is None or self._newest.id in self._acknowledged:
            return None
        return newest_break(self._host.store)

    def acknowledge(self) -> None:
        """Take the alerts as seen, and the headline off."""
        with self._host.data_lock:
            found = self.broken()
        if found is not None:
            self._acknowledged.add(found.event.id)
        seen = self.alerts.acknowledge() or int(found is not None)
        words = f"{seen} alert{'s' * (seen != 1)} acknowledged" if seen else "no alerts"
        self._host.say(Notice(words, "muted"))

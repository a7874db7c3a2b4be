"""What a panel may see when it draws: the store and a few words about the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlamon.analysis.liveness import Alive
from vlamon.charts.glyphs import UNICODE, Glyphs

if TYPE_CHECKING:
    from vlamon.records import Status
    from vlamon.store import RunStore
    from vlamon.tui.event_list import Filter
    from vlamon.tui.headline import Break


@dataclass(frozen=True, slots=True)
class FrameContext:
    """One frame of the screen; panels read the store under the feed's lock and keep nothing."""

    store: RunStore
    """Everything known about the run."""
    now: float
    """The watcher's wall clock, seconds since the epoch."""
    alive: Alive
    """The run's pulse."""
    row: int | None = None
    """Row that numbers are read from: the cursor's, else the newest; None without batches."""
    at_cursor: bool = False
    """Whether `row` is the cursor's."""
    event: str = ""
    """Id of the event that is chosen, empty for none."""
    unseen: int = 0
    """Alerts that nobody has acknowledged."""
    notice: str = ""
    """What became of the last command, or a message of the dashboard itself."""
    notice_role: str = "note"
    """Role of the notice."""
    diagnoses: tuple[tuple[str, str, str], ...] = ()
    """Role, headline and detail of what the analysis finds."""
    read_only: bool = False
    """Whether commands are hidden."""
    held: bool = False
    """Whether the charts stand still while data comes in."""
    glyphs: Glyphs = UNICODE
    """Characters to draw with."""
    broken: Break | None = None
    """The newest break, until it is acknowledged."""
    events: Filter = "all"
    """Which events are listed."""
    paging: str = ""
    """Which charts of how many are on screen, where not all are."""
    baseline: str = ""
    """Name of the run under the charts; empty for none."""

    @property
    def deadline(self) -> float | None:
        """Seconds until the guard acts by itself, in ask mode; None otherwise, and where nothing
        acts any more: in a replay, and after the end."""
        if self.alive.pulse in ("replay", "ended", "failed"):
            return None
        return seconds_left(self.store.status, self.now)


def seconds_left(status: Status | None, now: float) -> float | None:
    """Return the time until a guard that waits for a person acts by itself; None if none waits."""
    if status is None or status.deadline is None or status.state != "paused":
        return None
    return max(0.0, status.deadline - now)


def steps_are_epochs(store: RunStore) -> bool:
    """Say whether the rows are the lines of epochs, of a log that tells nothing finer."""
    if not store.rows or not len(store.epochs) or len(store.intervals):
        return False
    ends = (0, store.rows - 1)
    return all(
        float(store.steps(row, row + 1)[0]) == float(store.epochs_of_rows(row, row + 1)[0])
        for row in ends
    )


def run_name(store: RunStore) -> str:
    """Return what a person calls the run."""
    return store.info.name if store.info is not None and store.info.name else "vlamon"


def takes_commands(store: RunStore) -> bool:
    """Say whether a trainer at the other end executes commands."""
    return store.info is not None and store.info.control and not has_ended(store)


def has_ended(store: RunStore) -> bool:
    """Say whether the training is over, so that no command can be executed."""
    return store.link is not None and store.link.state == "ended"

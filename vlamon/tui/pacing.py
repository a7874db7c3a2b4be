"""When to paint: at once after a rest, then at most so often; pure, time is passed in."""

from __future__ import annotations

from dataclasses import dataclass

SLACK = 0.6
"""Share of the interval by which a paint may come early.

Values that arrive as often as paints are allowed do not arrive evenly. Without slack one that comes
early makes its paint wait, and every one after it as long, for good.
"""


@dataclass(slots=True)
class Pacer:
    """A throttle with a leading edge: the first change is shown at once, further ones wait their
    turn, so that a value that comes alone is never late and a flood never paints more often."""

    interval: float
    """Time between two paints of a flood, seconds."""
    due: float = float("-inf")
    """When the next paint of an even flood would begin."""

    def wait(self, now: float) -> float:
        """Return the seconds to wait until the next paint may begin; 0 means now."""
        return max(0.0, self.due - SLACK * self.interval - now)

    def painted(self, now: float) -> None:
        """Note that a paint begins."""
        # Paints that did not wait their turn, as a resize's, put the next one off once, not each.
        latest = now + (1 + SLACK) * self.interval
        self.due = min(max(self.due, now) + self.interval, latest)

"""When to paint: at once after a rest, then at most so often; pure, time is passed in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Pacer:
    """A throttle with a leading edge: the first change is shown at once, further ones wait their
    turn, so that a value that comes alone is never late and a flood never paints more often."""

    interval: float
    """Least time between two paints, seconds."""
    last: float = float("-inf")
    """When the last paint began."""

    def wait(self, now: float) -> float:
        """Give the seconds to wait until the next paint may begin; 0 means now."""
        return max(0.0, self.last + self.interval - now)

    def painted(self, now: float) -> None:
        """Note that a paint begins."""
        self.last = now

"""A token bucket, so that no monitor can keep the sidecar busy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Allowance:
    """`burst` at once and `rate` a second in the long run; time is passed in."""

    rate: float
    """Tokens that come back in a second."""
    burst: float
    """Tokens held at most, and at the start."""
    spent: float = 0.0
    """Tokens that are missing."""
    at: float = 0.0
    """When `spent` was last brought up to date, on the monotonic clock."""

    def left(self, now: float) -> bool:
        """Whether there is one at `now`."""
        self.spent = max(0.0, self.spent - max(0.0, now - self.at) * self.rate)
        self.at = now
        return self.spent <= self.burst - 1.0

    def spend(self) -> None:
        """Use one."""
        self.spent += 1.0

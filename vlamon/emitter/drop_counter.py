"""Counts by reason what was left out because it could not be used."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

REASONS = 100
"""Most reasons that are counted separately."""


class DropCounter:
    """Counts on any thread."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, reason: str, count: int = 1) -> str:
        """Count; gives the reason back where it is the first of its kind, else nothing."""
        with self._lock:
            if reason not in self._counts and len(self._counts) >= REASONS:
                reason = "other reasons"
            self._counts[reason] += count
            return reason if self._counts[reason] == count else ""

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self._counts.values())

    def by_reason(self) -> Mapping[str, int]:
        """How many for each reason."""
        return dict(self._counts)

    def summary(self) -> str:
        """A sentence where a reason came more than once; its first was reported at once."""
        if not any(count > 1 for count in self._counts.values()):
            return ""
        counts = "; ".join(f"{count} × {reason}" for reason, count in self._counts.items())
        return f"vlamon left out {self.total} values: {counts}"

    def abandon(self) -> None:
        """In a forked child: the thread that holds the lock may not have come along."""
        self._lock = threading.Lock()

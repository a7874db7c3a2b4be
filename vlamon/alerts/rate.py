"""Limits the alerts of one run: at once for what is new, then bounded. Pure; time is passed in."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from vlamon.alerts.alert import Alert

HOURLY = 12
"""Messages of one run in an hour; what is urgent and new always passes."""
REMEMBERED = 1000


@dataclass(slots=True)
class RateLimit:
    """Decides for each alert whether it is sent, and counts what was held back."""

    hourly: int = HOURLY
    held_back: int = 0
    """Since the last alert that passed."""
    _sent: deque[float] = field(default_factory=deque)
    _seen: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _last_kind: dict[str, float] = field(default_factory=dict)

    def passes(self, alert: Alert, now: float) -> bool:
        """Whether the alert is sent now. The same alert passes once."""
        if alert.id in self._seen:
            return False
        self._seen[alert.id] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        while self._sent and now - self._sent[0] >= 3600.0:
            self._sent.popleft()
        last = self._last_kind.get(alert.kind)
        fresh = last is None or now - last >= 3600.0
        if len(self._sent) >= self.hourly and not (alert.urgency == "high" and fresh):
            self.held_back += 1
            return False
        self._sent.append(now)
        self._last_kind[alert.kind] = now
        return True

    def take_held_back(self) -> int:
        """How many were held back since the last message; it is said with the next."""
        count, self.held_back = self.held_back, 0
        return count

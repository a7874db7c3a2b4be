"""The run's status: what the script set, completed by what its batches show."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Mapping
from typing import Any, get_args

from vlamon.protocol.sanitize import text
from vlamon.records import RunState, Snapshot, Status
from vlamon.safe_text import line

EVERY = 0.2
"""Seconds between two statuses, unless the state changes."""
_ROWS = 50
"""Batches over which the speed is measured."""
_SNAPSHOTS = 200
"""Snapshots in a status, the newest ones."""
_FIELDS = frozenset(item.name for item in dataclasses.fields(Status)) - {"time", "attempt"}


class StatusBoard:
    """Pure bookkeeping; the sidecar asks `due` and then for the status."""

    def __init__(self, total_steps: int | None) -> None:
        self.total_steps = total_steps
        self._fields: dict[str, Any] = {"state": "training", "step": 0}
        self._rows: deque[tuple[float, int]] = deque(maxlen=_ROWS)
        self._dirty = False
        self._urgent = False
        self._sent_at = 0.0

    def set(self, fields: Mapping[str, Any]) -> None:
        """Set what the script reports; see `checked`."""
        self._urgent |= fields.get("state", self._fields["state"]) != self._fields["state"]
        self._fields.update(fields)
        self._dirty = True

    def row(self, when: float, step: int, epoch: float | None) -> None:
        """A batch was logged."""
        self._rows.append((when, step))
        self._fields["step"] = step
        self._fields["epoch"] = epoch
        self._dirty = True

    def new_attempt(self) -> None:
        """Measure the speed again: steps fall."""
        self._rows.clear()
        self._dirty = True

    def hurry(self) -> None:
        """Make a status due at the next look."""
        self._urgent = True

    def due(self, now: float) -> bool:
        """Whether a status is due, by the monotonic clock; if so, the interval starts again."""
        if not (self._dirty and (self._urgent or now - self._sent_at >= EVERY)):
            return False
        self._sent_at, self._dirty, self._urgent = now, False, False
        return True

    def status(self, now: float, attempt: int) -> Status:
        """The status at `now`, seconds since the epoch."""
        speed = self._fields.get("steps_per_second") or self._speed()
        ended = self._fields["state"] == "ended"  # a run that is over has no time left
        eta = None if ended else self._fields.get("eta")
        if eta is None and not ended and speed and self.total_steps is not None:
            eta = max(0.0, (self.total_steps - self._fields["step"]) / speed)
        known = {"time": now, "attempt": attempt, "steps_per_second": speed, "eta": eta}
        return Status(**(self._fields | known))

    def _speed(self) -> float | None:
        if len(self._rows) < 2:
            return None
        (first_time, first_step), (last_time, last_step) = self._rows[0], self._rows[-1]
        if last_time <= first_time or last_step <= first_step:
            return None
        return (last_step - first_step) / (last_time - first_time)


def checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a status in the types that the record has; raises for anything else."""
    return {name: _checked(name, value) for name, value in fields.items()}


def _checked(name: str, value: Any) -> Any:
    if name not in _FIELDS:
        raise ValueError(f"a status has no {name!r:.40}")
    if name == "snapshots":
        return tuple(_checked_snapshot(item) for item in list(value or ())[-_SNAPSHOTS:])
    if name == "state":
        if value not in get_args(RunState):
            raise ValueError(f"{value!r:.40} is not a state")
        return value
    if name in ("phase", "guard"):
        return line(text(value))
    if value is None and name != "step":
        return None
    if name in ("step", "budget"):
        return int(value)
    return float(value) if math.isfinite(float(value)) else None  # no reader can use it


def _checked_snapshot(item: Snapshot | Mapping[str, Any]) -> Snapshot:
    """A snapshot made of plain values, whatever the script computed them with."""
    given = item if isinstance(item, Snapshot) else Snapshot(**item)
    return Snapshot(
        int(given.step),
        text(given.where),
        bool(given.trusted),
        float(given.time),
        None if given.closs is None else float(given.closs),
    )

"""From single values with a step of their own to rows: one per step, pure.

Trackers are called in many ways: a dict per step, a tag at a time, an epoch's number as the step of
one tag and the iteration as that of another. Tags whose steps agree share the run's axis. A value
on another axis (an epoch, a count of tokens) joins the row of the moment: a step of its own would
look like a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FAR = 64
"""A step this many strides ahead of the row is on another axis, unless its tag shares the run's."""


@dataclass(frozen=True, slots=True)
class TapRow:
    """The values of one step."""

    step: int
    values: dict[str, Any]


@dataclass(slots=True)
class Rows:
    """Gathers values until their step is over."""

    stride: int = 1
    """Steps between the last two rows."""
    _step: int | None = None
    _values: dict[str, Any] = field(default_factory=dict)
    _last: dict[str, int] = field(default_factory=dict)
    """The step that each tag was last logged with, whatever its axis."""
    _shared: set[str] = field(default_factory=set)
    """Tags on the run's axis."""

    def add(self, step: int, values: Mapping[str, Any]) -> TapRow | None:
        """Take values of `step`; returns the row that they end, if they end one."""
        shares = not self._shared.isdisjoint(values)
        falls = any(step < self._last.get(name, step) for name in values)
        self._last.update(dict.fromkeys(values, step))
        ended = None
        if self._step is None:
            self._step = step
        elif step > self._step and (shares or step - self._step <= FAR * self.stride):
            ended = self.flush()
            self.stride, self._step = step - self._step, step
        elif step < self._step and shares and falls:
            ended = self.flush()
            self._step = step
        if step == self._step:
            self._shared.update(values)
        self._values.update(values)
        return ended

    def join(self, values: Mapping[str, Any]) -> None:
        """Take values without a step on the run's axis; they belong to the row of the moment."""
        if self._step is None:
            self._step = 0
        self._values.update(values)

    def flush(self) -> TapRow | None:
        """The row as it stands, which is over now."""
        if self._step is None or not self._values:
            return None
        row = TapRow(self._step, self._values)
        self._values = {}
        return row

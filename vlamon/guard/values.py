"""Loss values on the host: at once on a CPU, one step late on a GPU and never by waiting for it.

The copy from the device is the emitter's (vlamon/emitter/values.py): one for all values of a call,
into pinned memory, without a sync.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from vlamon.emitter.values import Reading as Copy
from vlamon.emitter.values import settle

Value = float | int | torch.Tensor | None
_FINITE = "\0finite"
"""Place of the gate's verdict among the values that are copied from a device."""


@dataclass(slots=True)
class StepValues:
    """What one step had."""

    step: int
    """The step."""
    values: dict[str, float | None] = field(default_factory=dict)
    """Its losses by name, once they are known."""
    batch: Any = None
    """Its batch, for the autopsy."""
    samples: Any = None
    """Ids of its samples."""
    blocked: bool = False
    """Whether its update was kept from the weights, once that is known."""
    copy: Copy | None = None
    """The copy from the device, while it is under way."""

    def settle(self) -> None:
        """Wait for the copy (of the step before: long done)."""
        if self.copy is not None:
            self._take(self.copy.wait())
            self.copy = None

    def _take(self, found: Mapping[str, float]) -> None:
        for name, value in found.items():
            if name == _FINITE:
                self.blocked = not value
            else:
                self.values[name] = value


def read(
    step: int,
    values: Mapping[str, Value],
    finite: torch.Tensor | bool = True,
    unreadable: Callable[[str], None] = lambda why: None,
) -> StepValues:
    """Begin to read a step's values; device tensors are copied as one, without a sync.

    `finite` is what the gate said of the update. A value that is no number is left out, and
    `unreadable` is told why.
    """
    taken = StepValues(step, {name: None for name, value in values.items() if value is None})
    found = settle({**values, _FINITE: finite}, unreadable)
    if isinstance(found, Copy):
        taken.copy = found
    else:
        taken._take(found)
    return taken

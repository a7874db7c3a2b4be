"""Loss values on the host: at once on a CPU, one step late on a GPU and never by waiting for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

Value = float | int | torch.Tensor | None
_FINITE = "\0finite"
"""Place of the gate's verdict among the values that are copied from a device."""


@dataclass(slots=True)
class Reading:
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
    names: tuple[str, ...] = ()
    pinned: torch.Tensor | None = None
    copied: torch.cuda.Event | None = None

    def settle(self) -> None:
        """Wait for the copy (of the step before: long done) and make floats of it."""
        if self.pinned is None:
            return
        if self.copied is not None:
            self.copied.synchronize()
        for name, value in zip(self.names, self.pinned.tolist(), strict=True):
            if name == _FINITE:
                self.blocked = not value
            else:
                self.values[name] = value
        self.pinned = None


def read(step: int, values: Mapping[str, Value], finite: torch.Tensor | bool = True) -> Reading:
    """Begin to read a step's values; device tensors are copied as one, without a sync.

    `finite` is what the gate said of the update.
    """
    reading = Reading(step)
    away: dict[str, torch.Tensor] = {}
    if isinstance(finite, torch.Tensor) and finite.device.type == "cuda":
        away[_FINITE] = finite
    else:
        reading.blocked = not bool(finite)
    for name, value in values.items():
        if isinstance(value, torch.Tensor):
            if value.device.type == "cuda":
                away[name] = value.detach()
            else:
                reading.values[name] = float(value.detach())
        else:
            reading.values[name] = None if value is None else float(value)
    if away:
        reading.names = tuple(away)
        stacked = torch.stack([value.double().reshape(()) for value in away.values()])
        reading.pinned = torch.empty(len(away), dtype=torch.float64, pin_memory=True)
        reading.pinned.copy_(stacked, non_blocking=True)
        reading.copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        reading.copied.record()
    return reading

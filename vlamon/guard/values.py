"""Loss values on the host: at once on a CPU, one step late on a GPU and never by waiting for it.

The copy from the device is the emitter's (vlamon/emitter/values.py): one for all values of a call,
into pinned memory, without a sync.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from vlamon.emitter.values import PendingValues as Copy
from vlamon.emitter.values import settle

Prevented = Literal["", "clip", "skip"]
Value = float | int | torch.Tensor | None
_FINITE, _UPDATE, _FACTOR = "\0finite", "\0update", "\0factor"
"""Places of what is known of the update among the values that are copied from a device."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What is known of an update before it is made."""

    finite: torch.Tensor | bool = True
    """Whether every number is finite."""
    update: torch.Tensor | bool = True
    """Whether it may be made."""
    factor: torch.Tensor | None = None
    """What gradients were multiplied by; None where no rung of the ladder acts."""


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
    skipped: bool = False
    """Whether the ladder skipped its update."""
    factor: float = 1.0
    """What the ladder multiplied its gradients by."""
    copy: Copy | None = None
    """The copy from the device, while it is under way."""

    @property
    def prevented(self) -> Prevented:
        """What was done about its update."""
        if self.skipped or self.blocked:
            return "skip"
        return "clip" if self.factor < 1 else ""

    def settle(self) -> None:
        """Wait for the copy (of the step before: long done)."""
        if self.copy is not None:
            self._take(self.copy.wait())
            self.copy = None

    def _take(self, found: Mapping[str, float]) -> None:
        for name, value in found.items():
            if name == _FINITE:
                self.blocked = self.blocked or not value
            elif name == _UPDATE:
                self.skipped = self.skipped or not value
            elif name == _FACTOR:
                self.factor = value
            else:
                self.values[name] = value


def read(
    step: int,
    values: Mapping[str, Value],
    gate: Gate | None = None,
    unreadable: Callable[[str], None] = lambda why: None,
) -> StepValues:
    """Begin to read a step's values; device tensors are copied as one, without a sync.

    A value that is not a number is left out, and `unreadable` is called with the reason.
    """
    taken = StepValues(step, {name: None for name, value in values.items() if value is None})
    found = settle({**values, **_known(gate)}, unreadable)
    if isinstance(found, Copy):
        taken.copy = found
    else:
        taken._take(found)
    return taken


def _known(gate: Gate | None) -> dict[str, Value]:
    if gate is None:
        return {}
    if gate.factor is None:
        return {_FINITE: gate.finite}
    return {_FINITE: gate.finite, _UPDATE: gate.update, _FACTOR: gate.factor}

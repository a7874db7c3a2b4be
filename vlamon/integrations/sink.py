"""The sinks of a callback's rows: an emitter of its own, or the tap that installed it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from vlamon.emitter import Emitter


class Sink(Protocol):
    """What the tap's collector and an emitter of one's own have in common for a callback."""

    @property
    def emitter(self) -> Emitter | None:
        """The emitter behind it, for events and epochs."""

    def plan(self, total_steps: int | None) -> None:
        """How many steps the training will take; said before the first row."""

    def add(self, source: str, values: Mapping[str, Any], step: int | None = None) -> None:
        """One row, or more of the row of the same step."""

    def flush(self) -> None:
        """No more of the row of the moment will come."""


def log_row(emitter: Emitter, step: int, values: Mapping[str, Any]) -> None:
    """Log a row; an `epoch` among the values is its epoch, and a `step` is one more counter."""
    metrics = dict(values)
    epoch = metrics.pop("epoch", None)
    metrics.pop("step", None)  # scripts log it beside the step that they name
    emitter.log(step, epoch if isinstance(epoch, int | float) else None, **metrics)


class OwnEmitter:
    """An emitter for one framework; each `add` is a row."""

    def __init__(self, emitter: Emitter) -> None:
        self.emitter = emitter

    def plan(self, total_steps: int | None) -> None:
        """Its emitter was made with the number."""

    def add(self, source: str, values: Mapping[str, Any], step: int | None = None) -> None:
        """Log a row."""
        if step is not None:
            log_row(self.emitter, step, values)

    def flush(self) -> None:
        """Rows are whole when they come."""

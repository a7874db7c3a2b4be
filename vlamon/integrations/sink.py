"""Where a callback sends its rows: an emitter of its own, or the tap that installed it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from vlamon.emitter import Emitter


class Sink(Protocol):
    """What the tap's collector and an emitter of one's own have in common for a callback."""

    @property
    def emitter(self) -> Emitter | None:
        """The emitter behind it, for events and epochs."""

    def add(self, source: str, values: Mapping[str, Any], step: int | None = None) -> None:
        """One row, or more of the row of the same step."""

    def flush(self) -> None:
        """No more of the row of the moment will come."""


class OwnEmitter:
    """An emitter for one framework; each `add` is a row."""

    def __init__(self, emitter: Emitter) -> None:
        self.emitter = emitter

    def add(self, source: str, values: Mapping[str, Any], step: int | None = None) -> None:
        """Log a row; an `epoch` among the values is its epoch."""
        metrics = dict(values)
        epoch = metrics.pop("epoch", None)
        if step is not None:
            self.emitter.log(step, epoch, **metrics)

    def flush(self) -> None:
        """Rows are whole when they come."""

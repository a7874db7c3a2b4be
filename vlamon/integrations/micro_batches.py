"""Micro-batches of one optimizer step become one row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class MicroBatches:
    """Values of the micro-batches since the last optimizer step.

    A loss that is a mean over its micro-batch is averaged over those that have it; one that was
    divided by the tokens of the whole step already is summed.
    """

    def __init__(self) -> None:
        self._values: dict[str, list[Any]] = {}
        self._shares: set[str] = set()

    def add(self, values: Mapping[str, Any], shares: bool = False) -> None:
        """One micro-batch; `shares` where its values are shares of the step's."""
        for name, value in values.items():
            self._values.setdefault(name, []).append(value)
            if shares:
                self._shares.add(name)

    def take(self) -> dict[str, Any]:
        """The step's values; nothing is left here for the next one."""
        row = {
            name: self._joined(values, 1 if name in self._shares else len(values))
            for name, values in self._values.items()
        }
        self._values.clear()
        self._shares.clear()
        return row

    @staticmethod
    def _joined(values: list[Any], count: int) -> Any:
        if isinstance(values[0], list):
            alike = [value for value in values if len(value) == len(values[0])]
            return [sum(column) / count for column in zip(*alike, strict=True)]
        return values[0] if len(values) == 1 and count == 1 else sum(values) / count

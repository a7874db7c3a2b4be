"""What one run may claim over all its messages; each message alone is bounded where it is decoded.

A store keeps a column for every name: a journal of a megabyte could ask for gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vlamon.protocol.block import MAX_METRICS, Block
from vlamon.protocol.frames import ProtocolError
from vlamon.records import EpochRow, MetricsAnnounced, RunInfo

MOST_NAMES = 4 * MAX_METRICS
"""Metrics of a run: a training logs at most MAX_METRICS, one that was restarted maybe others."""


class RunLimits:
    """Refuses what goes beyond, message by message."""

    def __init__(self) -> None:
        self._rows: set[str] = set()
        self._epochs: set[tuple[str, str]] = set()
        self._announced: set[str] = set()

    def check_block(self, block: Block) -> None:
        """Raise ProtocolError where the run has too many metrics with these rows."""
        _add(self._rows, block.columns.keys())

    def check(self, record: object) -> None:
        """The same for everything but rows."""
        if isinstance(record, EpochRow):
            _add(self._epochs, [(record.split, name) for name in record.metrics])
        elif isinstance(record, RunInfo | MetricsAnnounced):
            _add(self._announced, {spec.name for spec in record.metrics})


def _add(known: set[Any], names: Iterable[Any]) -> None:
    known.update(names)
    if len(known) > MOST_NAMES:
        raise ProtocolError(f"the run has more than {MOST_NAMES} metrics")

"""Finds the attempt of an epoch line in the batch log beside it.

A run that died in the middle of an epoch and was resumed writes one line for that epoch; only the
batch log shows that there were two attempts at it. Lines of an epoch are assigned to the attempts
that have batches of it, the last line to the last of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vlamon.records import BatchBlock, EpochBlock, EpochRow, IntervalBlock
from vlamon.sources.picking import picked

EpochRecord = EpochBlock | EpochRow


class AttemptsOfEpochs:
    """Remembers which attempts have batches of which epoch."""

    def __init__(self) -> None:
        self._attempts: dict[int, list[int]] = {}
        self._assigned: Counter[tuple[str, int]] = Counter()

    def observe(self, block: BatchBlock | IntervalBlock) -> None:
        """Note the epochs of these rows."""
        epochs = np.asarray(block.epoch, np.float64)
        for epoch in np.unique(np.floor(epochs[np.isfinite(epochs)])).astype(int).tolist():
            known = self._attempts.setdefault(epoch, [])
            if block.attempt not in known:
                known.append(block.attempt)

    def assign(self, records: Sequence[EpochRecord]) -> list[EpochRecord]:
        """Give each line its attempt; a block is cut where the attempt changes."""
        coming: Counter[tuple[str, int]] = Counter()
        for record in records:
            coming.update((record.split, epoch) for epoch in _epochs(record))
        coming.update(self._assigned)
        assigned: list[EpochRecord] = []
        for record in records:
            attempts = [self._attempt(record, epoch, coming) for epoch in _epochs(record)]
            if isinstance(record, EpochRow):
                assigned.append(replace(record, attempt=attempts[0]))
            else:
                assigned += _cut(record, np.array(attempts))
        return assigned

    def _attempt(self, record: EpochRecord, epoch: int, coming: Counter[tuple[str, int]]) -> int:
        key = (record.split, epoch)
        turn = self._assigned[key]
        self._assigned[key] += 1
        known = self._attempts.get(epoch)
        if not known:
            return record.attempt
        return known[max(0, min(len(known) - 1, len(known) - coming[key] + turn))]


def _epochs(record: EpochRecord) -> list[int]:
    values = np.atleast_1d(np.asarray(record.epoch, np.float64))
    whole: list[int] = np.where(np.isfinite(values), np.floor(values), -1).astype(int).tolist()
    return whole


def _cut(block: EpochBlock, attempts: NDArray[np.int64]) -> list[EpochRecord]:
    edges = [0, *(np.flatnonzero(np.diff(attempts)) + 1).tolist(), len(attempts)]
    parts: list[EpochRecord] = []
    for first, end in pairwise(edges):
        part = picked(block, slice(first, end))
        parts.append(replace(part, attempt=int(attempts[first])))
    return parts

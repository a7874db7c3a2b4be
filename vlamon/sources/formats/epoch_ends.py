"""What a MetricLogger prints besides the lines of its batches: an epoch's sums, and evaluations.

Epoch: [0] Total time: 0:12:34 (0.5 s / it)
Averaged stats: lr: 0.000005  closs: 13.1817 (13.1817)
Test:  [ 70/79]  eta: 0:00:17  loss: 59.2480 (58.8012)  acc1: 3.1 (2.9)  time: 0.2
Test: Total time: 0:00:19 (0.2411 s / it)
"""

from __future__ import annotations

import re

from vlamon.records import EpochRow

_AVERAGED = b"Averaged stats:"
_OVER = re.compile(rb"Epoch: \[(\d{1,9})(?:/\d{1,9})?\] Total time: ")
_EVALUATION = re.compile(
    rb"(?:^|\s)(Test|Val|Valid|Validation|Eval|Evaluation):?\s{1,3}"
    rb"(?:\[ *\d{1,9}/(?:\d{1,9}|unknown)\]\s|(Total time: ))"
)
_SPLITS = {b"Test": "test", b"Eval": "eval", b"Evaluation": "eval"}
_NEVER = frozenset(("time", "data", "mem"))


class EpochEnds:
    """Gathers each epoch's averages over all ranks, and the evaluations behind it."""

    def __init__(self, meter: re.Pattern[bytes]) -> None:
        self.averaged: list[EpochRow] = []
        """Each epoch's averages, for a reader that has no log_train.txt."""
        self._meter = meter
        self._awaited = -1
        self._ended: float | None = None
        self._evaluating = False
        self._evaluated: dict[str, float] = {}
        self._done: list[EpochRow] = []

    def know(self, number: int, line: bytes, attempt: int) -> bool:
        """Take the line of this number; False where it is none of these."""
        if line.endswith(_AVERAGED):
            self._awaited = number + 1
        elif number == self._awaited or _AVERAGED in line:
            # Ranks are added up here: what log_train.txt holds in full precision.
            if self._ended is not None and not self._evaluating:
                self.averaged.append(EpochRow(self._ended, "train", self._means(line), attempt))
        elif (over := _OVER.search(line)) is not None:
            self._ended, self._evaluating = float(over[1]), False
        elif (found := _EVALUATION.search(line)) is not None:
            self._evaluate(found, line, attempt)
        else:
            return False
        return True

    def take(self) -> list[EpochRow]:
        """The evaluations that ended since the last call."""
        done, self._done = self._done, []
        return done

    def _evaluate(self, found: re.Match[bytes], line: bytes, attempt: int) -> None:
        self._evaluating = True
        if found[2] is None:
            self._evaluated = self._means(line, found.end())
        elif self._evaluated:
            epoch = float("nan") if self._ended is None else self._ended
            metrics, self._evaluated = self._evaluated, {}
            self._done.append(EpochRow(epoch, _SPLITS.get(found[1], "val"), metrics, attempt))

    def _means(self, line: bytes, begin: int = 0) -> dict[str, float]:
        meters = self._meter.finditer(line, begin)
        found = {m[1].decode(): float(m[3] or m[2]) for m in meters}
        return {name: value for name, value in found.items() if name not in _NEVER}

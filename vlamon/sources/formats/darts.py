"""The lines of DARTS and of the architecture searches that began from it.

    03/27 07:35:26 PM epoch 0 lr 2.500000e-02
    03/27 07:35:26 PM train 050 2.107612e+00 20.649510 71.844363
    03/27 07:40:02 PM train_acc 40.010684
    03/27 07:40:02 PM valid 000 1.342316e+00 50.816000 93.750000
    03/27 07:41:30 PM valid_acc 50.816000

A line of `train` has the loss and the accuracy of the best and of the best five classes, averaged
since the epoch began: the mean over the batches since the line before follows from both. What the
epoch comes to stands behind `train_`, `valid_` and `test_`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vlamon.sources.formats import Format
from vlamon.sources.formats.rows import NUMBER, LogRow, ReaderParser, counted, knows, stamp

_FRONT = r"(?:^|[\d\]:M-] {1,4})"
"""Before a message: nothing, a time, or a logger's mark; never a word."""
_BEGIN = re.compile(rf"{_FRONT}epoch (\d{{1,9}})(?: lr ({NUMBER}))?(?=\s|$)")
_BATCH = re.compile(
    rf"{_FRONT}(train|valid|test) (\d{{3,15}}) (\d\.\d+e[-+]\d+|nan|inf)((?: {NUMBER}){{0,9}})\s*$"
)
_TOTAL = re.compile(rf"\b(train|valid|test)_(acc|loss|obj) {{1,3}}({NUMBER})(?=\s|$)")
_SPLITS = {"valid": "val"}
_NAMES = {"obj": "loss"}
_ACCURACIES = ("top1", "top5")
_PRECISION = 7
"""Digits of a loss as it is printed."""


class DartsReader:
    """Counts through the epochs, and gathers the lines that sum one up."""

    def __init__(self) -> None:
        self._epoch: float | None = None
        self._rate: dict[str, float] = {}
        self._begins: dict[float | None, int] = {}
        """Batches before each epoch."""
        self._begin = 0
        self._last = -1
        """The last batch that was printed, counted within its epoch."""
        self._averages: dict[str, float] = {}
        """The averages that were printed with it."""
        self._split = ""
        self._total: dict[str, float] = {}
        self._time: float | None = None

    def read(self, line: str) -> Sequence[LogRow] | None:
        """The row of a batch, or of an epoch that was summed up before this line."""
        totals = _TOTAL.findall(line)
        if totals:
            return self._sum_up(totals, line)
        begun = _BEGIN.search(line)
        if begun is not None:
            rest = self.rest()
            self._turn(float(begun.group(1)))
            if begun.group(2):
                self._rate = {"lr": float(begun.group(2))}
            return rest
        found = _BATCH.search(line)
        if found is None:
            return None
        split, place, loss, others = found.groups()
        rest = self.rest()
        if split != "train":
            return rest
        averages = {"loss": float(loss)}
        values = [float(value) for value in others.split()]
        if len(values) == len(_ACCURACIES):
            averages |= dict(zip(_ACCURACIES, values, strict=True))
        return (*rest, *self._batches(int(place), averages, stamp(line)))

    def _batches(
        self, batch: int, averages: dict[str, float], time: float | None
    ) -> Sequence[LogRow]:
        """The mean over the batches since the last line, out of two averages since the begin."""
        if batch <= self._last:
            self._begin += self._last + 1
            self._last = -1
        before, now = self._last + 1, batch + 1
        means = averages
        if before:
            means = {
                name: _rounded((now * value - before * self._averages[name]) / (now - before))
                for name, value in averages.items()
                if name in self._averages
            }
        self._last, self._averages = batch, averages
        several = now - before > 1
        place = self._begin + batch
        return counted(means | self._rate, place, self._epoch, time, averaged=several)

    def rest(self) -> Sequence[LogRow]:
        """What an epoch came to."""
        total, self._total = self._total, {}
        split = _SPLITS.get(self._split, self._split)
        return counted(total, None, self._epoch, self._time, split) if total else ()

    def _turn(self, epoch: float) -> None:
        """Begin an epoch; one that was begun before is begun once more, by a run that went back."""
        if self._last >= 0:
            self._begin = self._begins.get(epoch, self._begin + self._last + 1)
            self._last = -1
        self._epoch, self._rate = epoch, self._rate if epoch == self._epoch else {}
        self._begins.setdefault(epoch, self._begin)

    def _sum_up(self, totals: Sequence[tuple[str, str, str]], line: str) -> Sequence[LogRow]:
        rows: list[LogRow] = []
        for split, name, value in totals:
            name = _NAMES.get(name, name)
            if split != self._split or name in self._total:
                rows += self.rest()
            self._split, self._time = split, stamp(line)
            self._total[name] = float(value)
        return rows


def _rounded(value: float) -> float:
    return float(f"{value:.{_PRECISION}g}")


def recognises(head: bytes, path: str) -> int:
    """A batch's line; its loss has an exponent always."""
    reader = DartsReader()
    return 80 if knows(head, lambda line: reader.read(line) or (), b"train ") else 0


FORMAT = Format(
    name="darts",
    title="lines of DARTS: loss and two accuracies behind a batch's number",
    example="03/27 07:35:26 PM train 050 2.107612e+00 20.649510 71.844363",
    recognises=recognises,
    open=lambda path: ReaderParser(DartsReader()),
)
